"""A process that is born in its control group: where the kernel can do it, where it can't, and what the child is like."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.kernel.cgroups import Hierarchies
from tests.conftest import CHECKOUT, Result, Stage


@pytest.fixture
def group() -> Iterator[str]:
    hierarchy = Hierarchies().v2
    assert hierarchy, "this machine has no cgroups v2, so nothing can be born in a group here"
    directory = f"{hierarchy}/test-birth-{os.getpid()}"
    os.mkdir(directory)
    yield directory
    os.rmdir(directory)


def own_group() -> str:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))


# In a program of its own: this one may have threads, of pytest's plug-ins.
DRIVER = """
import os, sys, threading
checkout, group, threads = sys.argv[1:]
sys.path.insert(0, checkout)
from stages.kernel import birth, syscalls
if threads:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
syscalls.unshare(syscalls.CLONE_NEWPID)  # which lasts for one attempt
pid, born_in = birth.fork(group)
if pid == 0:
    [own] = [line[3:] for line in open("/proc/self/cgroup").read().split() if line.startswith("0::")]
    print(own, flush=True)
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
print(born_in)
"""


def child_of(group: str, threads: str = "") -> tuple[str, str]:
    """Fork into the group; returns in which group the child found itself at once, and which one the fork says."""
    words = [sys.executable, "-c", DRIVER, str(CHECKOUT), group, threads]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    found, born_in = done.stdout.split("\n")[:2]
    return os.path.basename(found), os.path.basename(born_in)


def test_the_child_is_in_the_group_from_its_first_moment(group: str) -> None:
    assert child_of(group) == (os.path.basename(group), os.path.basename(group))


@pytest.mark.parametrize("where", ["", "/nowhere", "/tmp"])
def test_where_it_can_not_be_the_child_is_born_with_its_parent(where: str) -> None:
    assert child_of(where) == (os.path.basename(own_group()), "")


def test_in_a_group_of_v1_the_child_is_not_born() -> None:
    if not (hierarchies := Hierarchies().v1):
        pytest.skip("this machine has no cgroups v1")
    assert child_of(next(iter(hierarchies.values()))) == (os.path.basename(own_group()), "")


def test_a_program_with_threads_forks_as_usual(group: str) -> None:
    """A lock that another thread holds in the C library would be held in the child for ever."""
    assert child_of(group, "with threads") == (os.path.basename(own_group()), "")


def traced(zocker: Stage, trace: Path, *options: str) -> tuple[Result, str]:
    """Run `cat /proc/self/cgroup` in a container under strace; the result, and the calls that strace saw."""
    words = zocker.command("run", "busybox", "cat", "/proc/self/cgroup")
    strace = ["strace", "-f", "-o", str(trace), "-e", "trace=clone,clone3,openat", *options]
    done = subprocess.run([*strace, *words], env=zocker.environment, capture_output=True, text=True, timeout=60)
    return Result(done.returncode, done.stdout, done.stderr), trace.read_text()


def test_a_container_is_born_in_its_group_and_not_moved(stage: Callable[[str], Stage], tmp_path: Path) -> None:
    done, calls = traced(stage("5.8"), tmp_path / "trace")
    assert done.code == 0 and "0::/zocker/" in done.out, done
    assert "CLONE_INTO_CGROUP" in calls and "cgroup.procs" not in calls


def test_where_the_kernel_refuses_the_container_is_moved_into_its_group(
    stage: Callable[[str], Stage], tmp_path: Path
) -> None:
    done, calls = traced(stage("5.8"), tmp_path / "trace", "-e", "inject=clone3:error=ENOSYS")
    assert done.code == 0 and done.err == "" and "0::/zocker/" in done.out, done
    assert "cgroup.procs" in calls
