"""3.2  A control group limits what the container may use."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.chapters.conftest import Chapter, first_process, group_directory, holds, limit, status
from tests.conftest import eventually

LIMIT = 104857600  # 100m


def limited(chapter: Chapter, *options: str) -> tuple["subprocess.Popen[bytes]", int]:
    """A container with these limits, and its PID 1 as soon as it is in a group of its own."""
    runtime = chapter.begin([*options], ["sleep", "1000"])
    first = first_process(runtime, "sleep")
    eventually(lambda: "/zocker/" in Path(f"/proc/{first}/cgroup").read_text())
    return runtime, first


@holds("3.2")
def test_100m_is_104857600_bytes_and_the_command_is_in_that_group(chapter: Chapter) -> None:
    """D4: `-m 100m` sets the memory limit of the container's own group to 104857600, its PID 1 is in it, and it goes at exit."""
    runtime, first = limited(chapter, "-m", "100m")
    eventually(lambda: group_directory(first, "memory") != group_directory(os.getpid(), "memory"))
    assert limit(first, "memory", "memory.limit_in_bytes", "memory.max") == str(LIMIT)
    directory = group_directory(first, "memory")
    assert directory.is_dir()
    runtime.terminate()
    runtime.wait(10)
    assert not directory.exists()


@pytest.mark.parametrize("chapter", ["3.2", "5.7"], indirect=True)
def test_who_uses_more_memory_than_the_limit_is_killed(chapter: Chapter) -> None:
    """D4: the limit is not only written down: 300 MB in one piece end the command with 137, and 3 MB don't.

    In 3.2 the command may be faster than its limit, so there it waits until it is in its group.
    """
    wait = "until grep -q memory:.*/zocker/ /proc/self/cgroup || grep -q 0::.*/zocker/ /proc/self/cgroup; do sleep 0.02; done"
    for size, code in (("3M", 0), ("300M", 137)):
        command = f"{wait}; exec dd if=/dev/zero of=/dev/null bs={size} count=1 2>/dev/null"
        assert chapter.run(["-m", "100m"], ["sh", "-c", command]).code == code, size


@holds("3.2")
def test_cpuset_1_pins_to_cpu_1(chapter: Chapter) -> None:
    """D5: with `-cpuset 1` the kernel's Cpus_allowed_list of the command is 1, and without it it isn't."""
    if (os.cpu_count() or 1) < 2:
        assert not os.environ.get("CI"), "CI has to have two CPUs: else nobody ever looks at -cpuset"
        pytest.skip("this machine has one CPU, so nothing can be pinned to CPU 1")
    assert status("self", "Cpus_allowed_list") != "1"
    runtime = chapter.begin(["-cpuset", "1"], ["sleep", "1000"])
    first = first_process(runtime, "sleep")
    eventually(lambda: status(first, "Cpus_allowed_list") == "1")


@pytest.mark.parametrize("chapter", ["3.2", "4.1", "5.8"], indirect=True)
def test_cpu_shares_are_set(chapter: Chapter) -> None:
    """`-cpushare 512` is half an ordinary share: 512 in cpu.shares, or 20 in v2's cpu.weight."""
    runtime = chapter.begin(["-cpushare", "512"], ["sleep", "1000"])
    first = first_process(runtime, "sleep")
    eventually(lambda: group_directory(first, "cpu") != group_directory(os.getpid(), "cpu"))
    v1 = (group_directory(first, "cpu") / "cpu.shares").exists()
    assert limit(first, "cpu", "cpu.shares", "cpu.weight") == ("512" if v1 else "20")


@pytest.mark.parametrize("chapter", ["3.2", "5.7"], indirect=True)
@pytest.mark.parametrize(
    "option", [["-m", "100m"], ["--m", "100m"], ["-m=100m"], ["-m", "102400k"], ["-m", str(LIMIT)]]
)
def test_a_limit_is_spelled_in_any_way(chapter: Chapter, option: list[str]) -> None:
    """One dash or two, a blank or `=`, and any unit: the same limit."""
    _, first = limited(chapter, *option)
    eventually(lambda: group_directory(first, "memory") != group_directory(os.getpid(), "memory"))
    assert limit(first, "memory", "memory.limit_in_bytes", "memory.max") == str(LIMIT)


@pytest.mark.parametrize("chapter", ["3.2", "5.7"], indirect=True)
def test_one_containers_limit_is_not_anothers(chapter: Chapter) -> None:
    """Each container has a group of its own: of two at once, one has the limit and one has not."""
    _, small = limited(chapter, "-m", "100m")
    _, other = limited(chapter, "-m", "200m")
    _, free = limited(chapter)
    eventually(lambda: group_directory(other, "memory") != group_directory(os.getpid(), "memory"))
    assert limit(small, "memory", "memory.limit_in_bytes", "memory.max") == str(LIMIT)
    assert limit(other, "memory", "memory.limit_in_bytes", "memory.max") == str(2 * LIMIT)
    unlimited = group_directory(free, "memory")
    assert unlimited not in (group_directory(small, "memory"), group_directory(other, "memory"))


@pytest.mark.parametrize("chapter", ["3.2", "5.7"], indirect=True)
@pytest.mark.parametrize(
    "option", [["-m", "lots"], ["-m", "-1"], ["-cpushare", "1"], ["-cpuset", "9999"], ["-cpuset", "x"]]
)
def test_a_bad_limit_is_refused_in_one_sentence(chapter: Chapter, option: list[str]) -> None:
    """A limit that makes no sense, or that this machine can't keep, is refused with 125 and nothing is run."""
    done = chapter.run(option, ["echo", "it ran"])
    assert (done.code, done.out, done.err.count("\n")) == (125, "", 1)
    assert option[1] in done.err
