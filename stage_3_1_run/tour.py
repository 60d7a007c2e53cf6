"""Chapter 3.1: one process, seen from inside its namespaces and from the host."""

import os
import subprocess

from stages.kernel import mounts
from stages.tour import Guide, are_as_before, host_mounts, numbers

KINDS = {
    "uts": "host name",
    "pid": "process numbers",
    "mnt": "table of mounts",
    "net": "network devices and addresses",
    "ipc": "shared memory and message queues",
}


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    _seen_from_inside(guide)
    _the_callers_directory(guide)
    host = host_mounts()
    runtime = _seen_from_the_host(guide)
    _mounts(guide, runtime, host)


def _seen_from_inside(guide: Guide) -> None:
    guide.step(1, "A shell in new namespaces, and what it sees of itself")
    name = os.uname().nodename
    done = guide.do("run", "-ti", "sh", typed="echo $$\nps -e -o pid,comm\nhostname")
    own, *table, its_name = done.stdout.splitlines() if done.stdout.count("\n") > 1 else ("", "")
    rows = [line.split() for line in table[1:]]
    alone = [row[-1] for row in rows] == ["sh", "ps"] and rows[0][0] == "1"
    guide.check("the command sees itself as number 1", own == "1")
    guide.check("`ps` shows it as number 1, and beside it nobody but `ps`", alone)
    guide.check("it has a host name of its own, and the host keeps its", its_name != name == os.uname().nodename)


def _the_callers_directory(guide: Guide) -> None:
    guide.step(2, "There is no new root yet: its directory and its files are the caller's")
    guide.show("echo 'a file of the host' >file")
    done = guide.do("run", "sh", "-c", "pwd; cat file")
    guide.check("the working directory is still the caller's", done.stdout == f"{guide.root}\na file of the host\n")


def _seen_from_the_host(guide: Guide) -> "subprocess.Popen[str]":
    guide.step(3, "One that stays, seen from the host")
    runtime = guide.begin("run", "sleep", "1000")
    first = guide.first(runtime)
    guide.need("it is started", first)
    guide.look(f"grep NSpid /proc/{first}/status", "NSpid:\t" + "\t".join(numbers(first)))
    guide.check("the kernel counts it twice: by a number of the host's, and as 1", numbers(first) == [str(first), "1"])
    links = {kind: [os.readlink(f"/proc/{who}/ns/{kind}") for who in ("self", first)] for kind in KINDS}
    rows = "\n".join(f"{ours:20} {its}" for ours, its in links.values())
    guide.look(f"readlink /proc/self/ns/* beside /proc/{first}/ns/*", rows)
    for kind, what in KINDS.items():
        guide.check(f"{kind}: it has its own {what}", len(set(links[kind])) == 2)
    return runtime


def _mounts(guide: Guide, runtime: "subprocess.Popen[str]", host: list[str]) -> None:
    guide.step(4, "It has mounted a /proc of its own, and the host's table of mounts knows nothing of it")
    first = guide.first(runtime)
    copied, own = ([mount.line for mount in mounts.table(pid) if mount.target == "/proc"] for pid in ("self", first))
    guide.look("grep ' /proc ' /proc/self/mountinfo", "\n".join(copied))
    guide.look(f"grep ' /proc ' /proc/{first}/mountinfo", "\n".join(own))
    guide.check("over its copy of the host's /proc lies one of its own", len(own) == len(copied) + 1)
    guide.check("the host's table is the same while it runs", are_as_before(host))
    guide.end(runtime)
    guide.check("and after it has ended", are_as_before(host))
    guide.check("the host's /proc still shows the host", os.readlink("/proc/self") == str(os.getpid()))
