"""The tutorial's chapter 5.5, step by step: `stop`, of a PID 1 that ends at SIGTERM, one that can't, and one that won't."""

import os
import time

from stages.tour import Guide, children, eventually, field, numbers

RUDE = 'trap "echo no" TERM; echo ready; while :; do sleep 0.1; done'
CONTAINERS = {"bird": ["top"], "deaf": ["sleep", "1000"], "rude": ["sh", "-c", RUDE]}


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    pids = _start(guide)
    _stop_bird(guide, pids["bird"])
    _stop_deaf(guide, pids["deaf"])
    _stop_rude(guide, pids["rude"])
    _refuse(guide)


def _start(guide: Guide) -> dict[str, int]:
    guide.step(1, "Three containers, and what their PID 1 does about SIGTERM, which is bit 14 of SigCgt")
    for name, words in CONTAINERS.items():
        guide.do("run", "-d", "--name", name, *words)
    rows = guide.ps()
    pids = {name: int(rows[name]["PID"] or 0) for name in CONTAINERS}
    alive = all(rows[name]["STATUS"] == "running" and numbers(pid)[1:] == ["1"] for name, pid in pids.items())
    guide.need("`ps` says running, and the kernel has all three: each is number 1 in there", alive)
    eventually(lambda: _catches_term(pids["bird"]) and _catches_term(pids["rude"]))
    for pid in pids.values():
        guide.show(f"grep SigCgt /proc/{pid}/status")
    return pids


def _catches_term(pid: int) -> bool:
    return bool(int(field(pid, "SigCgt") or "0", 16) >> 14 & 1)


def _gone(pid: int) -> bool:
    return field(pid, "State")[:1] in ("", "Z")  # a zombie waits for PID 1 to take note of it


def _stopped(guide: Guide, name: str) -> None:
    row = guide.ps()[name]
    guide.check(
        f"`ps` says that {name} is stopped, and its PID column is empty", (row["STATUS"], row["PID"]) == ("stopped", "")
    )


def _stop_bird(guide: Guide, pid: int) -> None:
    guide.step(2, "bird catches SIGTERM, and ends")
    done = guide.do("stop", "bird")
    guide.check("its process is gone", done.returncode == 0 and _gone(pid))
    _stopped(guide, "bird")


def _stop_deaf(guide: Guide, pid: int) -> None:
    guide.step(3, "deaf does not catch it, so the kernel drops it; it has also got a second process")
    guide.do("exec", "deaf", "sh", "-c", "sleep 2000 </dev/null >/dev/null 2>&1 &")
    guide.show(f"grep -sl 'PPid:.{pid}$' /proc/[0-9]*/status")
    both = [pid, *children(pid)]
    guide.show(f"kill -TERM {pid}")
    guide.need("SIGTERM alone does nothing to it", len(both) == 2 and not _gone(pid))
    began = time.monotonic()
    guide.do("stop", "deaf")
    guide.check("`stop` ends it all the same, with SIGKILL", _gone(pid))
    guide.check("the other process of the container is gone too", all(map(_gone, both)))
    guide.check("it did not wait for what can't happen: that took no five seconds", time.monotonic() - began < 5)
    _stopped(guide, "deaf")


def _stop_rude(guide: Guide, pid: int) -> None:
    guide.step(4, "rude catches it, and goes on")
    guide.do("stop", "-t", "1", "rude")
    guide.check("it was asked first, and had its second", guide.do("logs", "rude").stdout == "ready\nno\n")
    guide.check("then it was ended", _gone(pid))


def _refuse(guide: Guide) -> None:
    guide.step(5, "What a stopped container leaves, and what can't be done with it")
    guide.look(f"grep ' {guide.root}/mnt ' /proc/self/mountinfo", guide.mount_at(f"{guide.root}/mnt"))
    kept = sorted(guide.show(f"ls {guide.state}/bird").split())
    guide.check(
        "its view and its files are there",
        guide.mount_at(f"{guide.root}/mnt") and kept == ["config.json", "container.log"],
    )
    refused = guide.do("exec", "bird", "touch", f"{guide.root}/note")
    ran = os.path.exists(f"{guide.root}/note")
    guide.check("`exec` refuses, and nothing runs on the host instead", refused.returncode != 0 and not ran)
