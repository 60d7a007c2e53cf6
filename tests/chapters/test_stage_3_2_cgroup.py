"""3.2  A control group limits what the container may use."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.chapters.conftest import Chapter, chapters, first_process, group_directory, limit
from tests.conftest import eventually

LIMIT = 104857600  # 100m


def limited(chapter: Chapter, *options: str) -> tuple["subprocess.Popen[bytes]", int]:
    """A container with these limits, and its PID 1 as soon as it is in a group of its own."""
    runtime = chapter.begin([*options], ["sleep", "1000"])
    first = first_process(runtime, "sleep")
    eventually(lambda: "/zocker/" in Path(f"/proc/{first}/cgroup").read_text())
    return runtime, first


@chapters("3.2", "5.7")
def test_who_uses_more_memory_than_the_limit_is_killed(chapter: Chapter) -> None:
    """D4: the limit is not only written down: 300 MB in one piece end the command with 137, and 3 MB don't.

    In 3.2 the command may be faster than its limit, so there it waits until it is in its group.
    """
    wait = "until grep -q memory:.*/zocker/ /proc/self/cgroup || grep -q 0::.*/zocker/ /proc/self/cgroup; do sleep 0.02; done"
    for size, code in (("3M", 0), ("300M", 137)):
        command = f"{wait}; exec dd if=/dev/zero of=/dev/null bs={size} count=1 2>/dev/null"
        assert chapter.run(["-m", "100m"], ["sh", "-c", command]).code == code, size


@chapters("3.2", "5.7")
@pytest.mark.parametrize(
    "option", [["-m", "100m"], ["--m", "100m"], ["-m=100m"], ["-m", "102400k"], ["-m", str(LIMIT)]]
)
def test_a_limit_is_spelled_in_any_way(chapter: Chapter, option: list[str]) -> None:
    """One dash or two, a blank or `=`, and any unit: the same limit."""
    _, first = limited(chapter, *option)
    eventually(lambda: group_directory(first, "memory") != group_directory(os.getpid(), "memory"))
    assert limit(first, "memory", "memory.limit_in_bytes", "memory.max") == str(LIMIT)


def test_in_ci_there_is_a_cpu_1() -> None:
    """Else nobody ever looks at `-cpuset 1` (D5): where there is one CPU its check is skipped."""
    assert not os.environ.get("CI") or {0, 1} <= os.sched_getaffinity(0)
