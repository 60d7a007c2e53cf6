"""What is chosen for the inside of the virtual machine, where each check takes seconds."""

import re
import subprocess
import sys
from collections import defaultdict

import pytest

from harness import chapters, guest
from harness.behaviours import checks
from harness.cgroup_version import cgroup_version
from harness.vm_session import WARM
from tests.conftest import CHECKOUT

PYTHON = [sys.executable, "-P", "-m"]


def collected(*words: str) -> dict[str, set[str]]:
    """The checks that are chosen, by the chapter of ours that they are made of."""
    command = [*PYTHON, "pytest", *guest.arguments([*words, "-n0", "--collect-only", "-q", "-q"])]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, env={"PYTHONPATH": str(CHECKOUT)})
    assert done.returncode == 0, done.stdout + done.stderr
    found = defaultdict(set)
    for test, stage in re.findall(r"::(test_\w+)\[(stage_\w+)", done.stdout):
        found[stage].add(test)
    return found


@pytest.fixture(scope="module")
def every() -> dict[str, set[str]]:
    return collected()


def test_every_documented_behaviour_is_checked_at_the_chapter_that_brings_it(every: dict[str, set[str]]) -> None:
    documented = {f"test_{name}" for number, names in checks().items() if number.startswith("D") for name in names}
    assert set().union(*every.values()) == documented
    assert "test_two_containers" in every["stage_commit"] and "test_commit" in every["stage_4_4_package"]
    assert "test_write_layer" not in every["stage_4_3_volume"]


def test_the_last_chapter_is_checked_for_all(every: dict[str, set[str]]) -> None:
    last = chapters.directory(chapters.NUMBERS[-1])
    assert every[last] == collected("--chapter", chapters.NUMBERS[-1])[last]


def test_what_the_snapshot_is_made_warm_with_are_some_checks() -> None:
    words = re.search(r"harness\.guest -n0 (.*?) \|\|", WARM)
    assert words and len(collected(*words[1].split())["stage_commit"]) > 3


def test_a_chapter_that_somebody_names_is_checked_for_all_that_it_has() -> None:
    assert {"test_pid_1", "test_write_layer"} <= collected("--chapter", "4.2")["stage_4_2_aufs"]


@pytest.mark.parametrize("words", [["--subject", "mine.toml"], ["--subject=mine.toml"]])
def test_of_a_learners_own_program_only_the_behaviours_are_checked(words: list[str]) -> None:
    assert [word for word in guest.arguments(words) if word.startswith("tests/")] == ["tests/behaviours"]
    assert {"tests/seeds", "tests/explain/test_equality.py"} < set(guest.arguments([]))


def test_limits_are_checked_at_their_chapters_and_at_the_last_with_the_defects_of_others() -> None:
    found = collected("--limits")
    assert "test_memory_limit" in found["stage_3_2_cgroup"] and "test_limits_come_first" in found["stage_3_3_pipe"]
    assert {"test_memory_limit", "test_cpuset_with_memory"} <= found[chapters.directory(chapters.NUMBERS[-1])]


@pytest.mark.parametrize("words", [["--junit", "a file"], ["--junit=a file"]])
def test_the_report_goes_where_it_is_asked_for(words: list[str]) -> None:
    assert "--junitxml=a file" in " ".join(guest.arguments(words)).replace("--junitxml a", "--junitxml=a")


def test_limits_of_version_1_are_refused_where_there_is_version_2() -> None:
    like_v2 = 'umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
    machine = ["unshare", "-m", "--propagation", "private", "sh", "-c", like_v2, "sh"]
    words = [*machine, *PYTHON, "harness.guest", "--limits"]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, env={"PYTHONPATH": str(CHECKOUT)})
    assert (done.returncode, done.stdout) == (125, ""), done
    assert "v2" in done.stderr


def test_it_says_first_on_what_machine_it_is() -> None:
    words = [*PYTHON, "harness.guest", "-n0", "--collect-only", "-q", "-k", "nothing of this name"]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, env={"PYTHONPATH": str(CHECKOUT)})
    assert done.stdout.splitlines()[0].endswith(f"control groups {cgroup_version()}"), done


@pytest.mark.parametrize(("inside", "more"), [({}, False), ({"STAGES_IN_VM": "1"}, True)])
def test_inside_the_harness_waits_longer_for_everything(inside: dict[str, str], more: bool) -> None:
    script = "from harness import patience, running; print(patience.factor > 1, running.PATIENCE > 10)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, env=inside, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(more)] * 2
