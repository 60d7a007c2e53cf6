"""5.1  Nobody waits for it: the runtime ends, and the orphan is adopted by PID 1."""

import os
import sys

from tests.chapters.conftest import (
    Chapter,
    chapters,
    children,
    command_line,
    containers_below,
    fresh,
    processes,
    status,
)

SUBREAPER = """
import ctypes, subprocess, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
subprocess.run(sys.argv[1:], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print("adopted", flush=True)
sys.stdin.read()
"""


def ancestors(pid: int) -> list[int]:
    """The parent, its parent, and so on up to PID 1."""
    line = []
    while pid > 1:
        pid = int(status(pid, "PPid"))
        line.append(pid)
    return line


@chapters("5.1", "5.2", "5.7")
def test_run_d_returns_at_once_and_the_nearest_subreaper_is_tops_parent(chapter: Chapter) -> None:
    """D12: `run -d top` returns at once; on the host, top's parent is PID 1 (or the nearest subreaper, which these tests are)."""
    first = chapter.detach(["top"])
    assert command_line(first) == ["top"], "it returned while top runs"
    assert int(status(first, "PPid")) == os.getpid()
    assert status(first, "NSpid").split() == [str(first), "1"]
    assert children(first) == []
    ours = f"ZOCKER_ROOT={chapter.root}\0".encode()
    shims = [pid for pid in processes() if pid != first and pid != os.getpid() and ours in environment(pid)]
    assert shims == [], "no process of the runtime's stays behind"


def environment(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


@chapters("5.1", "5.7")
def test_any_subreaper_on_the_way_adopts_it(chapter: Chapter) -> None:
    """D12: started below another subreaper, it is that one's child: the kernel decides, and nothing of ours stays between."""
    chapter.before = [sys.executable, "-c", SUBREAPER]
    helper = chapter.begin(["-d"], ["top"])
    assert helper.stdout and helper.stdout.readline() == b"adopted\n"
    (first,) = containers_below(chapter.root)
    assert int(status(first, "PPid")) == helper.pid
    helper.communicate(b"", timeout=10)


@chapters("5.1")
def test_ti_and_d_contradict_each_other(chapter: Chapter) -> None:
    """`-d` with `-ti` is an error, in either order; nothing is started."""
    for options in (["-ti", "-d"], ["-d", "-it"], ["-d", "-t", "-i"]):
        done = chapter.run(options, ["top"])
        assert (done.code, done.out, done.err.count("\n")) == (125, "", 1), options
    assert containers_below(chapter.root) == set()


@chapters("5.1", "5.3")
def test_a_detached_container_holds_nothing_of_the_callers(chapter: Chapter) -> None:
    """Its input is /dev/null, its output a file or /dev/null; no descriptor and no session of the caller's is left to it."""
    first = chapter.detach(["sleep", "1000"])
    fds = {int(fd): os.readlink(f"/proc/{first}/fd/{fd}") for fd in os.listdir(f"/proc/{first}/fd")}
    assert sorted(fds) == [0, 1, 2]
    assert fds[0] == "/dev/null" and fds[1] == fds[2]
    assert fds[1] == "/dev/null" or fds[1].endswith("/container.log")
    assert os.getsid(first) == first != os.getsid(0)


@chapters("5.1")
def test_a_command_that_is_not_there_is_told_at_once(chapter: Chapter) -> None:
    """Also `run -d` says 127 when there is no such command, and leaves nothing behind."""
    done = chapter.run(["-d"], [fresh("nosuch")])
    assert (done.code, done.out, done.err.count("\n")) == (127, "", 1)
    assert containers_below(chapter.root) == set()
