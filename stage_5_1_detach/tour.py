"""Chapter 5.1: the runtime ends, the container goes on, and PID 1 is its parent."""

import os
import time

from stages.kernel import mounts
from stages.tour import Guide, eventually, field, numbers


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    guide.step(1, "Start a container and do not wait for it")
    done = guide.do("run", "-d", "top")
    guide.check("`run -d` returns at once, though the command goes on", done.returncode == 0)
    pid = _container(guide, "top")
    guide.need("the container is there", pid)
    _orphan(guide, pid)
    _ends_by_itself(guide)
    guide.step(4, "Neither can there be a terminal")
    done = guide.do("run", "-ti", "-d", "top")
    guide.check("-ti with -d is refused", done.returncode == 125)
    guide.step(5, "Who tidies up?")
    guide.show(f"kill {pid}")
    ended = eventually(lambda: _has_ended(pid))
    guide.show("ls; find writeLayer")
    guide.check("it has ended, and its layer is still there", ended and guide.names("writeLayer") == ["note"])
    guide.do("run", "true")
    guide.show("ls")
    guide.check("the next run has tidied up after both", guide.names() == ["busybox", "busybox.tar"])


def _orphan(guide: Guide, pid: int) -> None:
    guide.step(2, "An orphan, and who adopts it")
    guide.show(f"grep -E '^(Name|PPid|NSpid)' /proc/{pid}/status")
    # Usually PID 1. A subreaper, which adopts in its place, can only be an ancestor of ours.
    guide.check("its parent is PID 1, or the nearest subreaper", field(pid, "PPid") in {"1", *_ancestors()})
    guide.check("it is PID 1 itself, in its own pid namespace", numbers(pid)[1:] == ["1"])
    guide.show(f"ls -l /proc/{pid}/fd; ps -o pid,sid,tty -p {pid}")
    streams = {os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")}
    guide.check("it holds nothing of ours open: all its files are /dev/null", streams == {"/dev/null"})
    guide.check("it is in a session of its own, which has no terminal", os.getsid(pid) == pid)


def _ends_by_itself(guide: Guide) -> None:
    guide.step(3, "A command that ends by itself")
    begun = time.monotonic()
    guide.do("run", "-d", "sh", "-c", "echo >/note; exec sleep 0.7")
    pid = _container(guide, "sleep")
    guide.check("it runs when `run -d` has returned", pid)
    guide.check("it ends when its time is over", eventually(lambda: _has_ended(pid)))
    guide.check("it was not ended before", time.monotonic() - begun > 0.6)


def _has_ended(pid: int) -> bool:
    """Gone, or a zombie: how soon it is reaped is up to the machine's PID 1."""
    return field(pid, "State")[:1] in ("", "Z")


def _container(guide: Guide, name: str) -> int:
    """The pid of the container that runs the command `name`, as the kernel's tables tell it; 0 when there is none."""
    found: list[int] = []

    def look() -> bool:
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and field(int(entry), "Name") == name]
        found[:] = [pid for pid in pids if numbers(pid)[1:] == ["1"] and _is_ours(guide, pid)]
        return bool(found)

    eventually(look)
    return found[0] if found else 0


def _is_ours(guide: Guide, pid: int) -> bool:
    root = mounts.at("/", pid)
    return root is not None and f"{guide.root}/writeLayer" in root.line


def _ancestors() -> list[str]:
    found = [str(os.getppid())]
    while found[-1] not in ("0", "1", ""):
        found.append(field(int(found[-1]), "PPid"))
    return found
