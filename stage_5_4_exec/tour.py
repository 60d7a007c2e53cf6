"""The tutorial's chapter 5.4, step by step: a second command in a container, seen from inside and from the host."""

import os
import signal

from stages.tour import Guide, children, eventually, field, numbers

KINDS = ["ipc", "uts", "net", "pid", "mnt"]  # in the documented order


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    guide.step(1, "A container whose command is no shell")
    done = guide.do("run", "-d", "--name", "bird", "-m", "100m", "sleep", "1000")
    guide.need("bird is started", done.returncode == 0)
    first = int(guide.ps()["bird"]["PID"] or 0)
    guide.need("the PID in `ps` is its process: number 1 in there", numbers(first)[1:] == ["1"])
    _from_inside(guide)
    _from_the_host(guide, first)
    _codes(guide)
    _when_it_has_ended(guide, first)


def _from_inside(guide: Guide) -> None:
    guide.step(2, "A second command in it, and what that sees")
    rows = guide.do("exec", "bird", "ps", "-o", "pid,ppid,args").stdout.splitlines()
    guide.check("PID 1 is the container's command", any(row.split() == ["1", "0", "sleep", "1000"] for row in rows))
    own = [row.split()[0] for row in rows if row.split()[2:3] == ["ps"]]
    guide.check("the second command is a process beside it, with another number", own and own != ["1"])
    done = guide.do("exec", "bird", "sh", "-c", "hostname; ls; echo hello >/note")
    guide.check("it sees the container's host name and root", done.stdout.split()[:2] == ["bird", "bin"])
    guide.show("find writeLayer -type f")
    guide.check("what it writes is in the container's write layer", os.path.isfile(f"{guide.root}/writeLayer/note"))


def _from_the_host(guide: Guide, first: int) -> None:
    guide.step(3, "The same from the host: a shell that stays there")
    runtime = guide.begin("exec", "bird", "sh")
    second = 0

    def has_executed() -> bool:
        nonlocal second
        second = next((pid for pid in children(runtime.pid) if field(pid, "Name") == "sh"), 0)
        return second > 0

    eventually(has_executed)
    links = [guide.show(f"cd /proc/{pid}/ns; readlink {' '.join(KINDS)} | xargs") for pid in ("self", first, second)]
    host, one, two = (line.split() for line in links)
    differ = len(set(host) | set(two)) == 2 * len(KINDS)
    guide.check(f"{', '.join(KINDS)}: it is in the container's namespaces, not in the host's", one == two and differ)
    guide.show(f"grep NSpid /proc/{first}/status /proc/{second}/status")
    guide.check("it has a number of its own on the host, and another one in the container", len(numbers(second)) == 2)
    groups = guide.show(f"cat /proc/{second}/cgroup | grep zocker")
    with open(f"/proc/{first}/cgroup") as file:
        theirs = [line for line in file if "zocker" in line]
    guide.check(
        "it is in the container's control groups, so the limit is for both", theirs == groups.splitlines(True) != []
    )


def _codes(guide: Guide) -> None:
    guide.step(4, "The order in which it joins, as -v tells it, and the exit code")
    done = guide.do("-v", "exec", "bird", "sh", "-c", "exit 7")
    order = [line.split()[2] for line in done.stderr.splitlines() if line.startswith("setns on ")]
    guide.check(f"it joins {', '.join(KINDS)}, in this order", order == KINDS)
    guide.check("the command's exit code is that of `exec`", done.returncode == 7)


def _when_it_has_ended(guide: Guide, first: int) -> None:
    guide.step(5, "When the container has ended, there is nothing to join")
    os.kill(first, signal.SIGKILL)
    guide.say(f"\n# kill -KILL {first}")
    eventually(lambda: field(first, "State")[:1] in ("", "Z"))
    refused = guide.do("exec", "bird", "touch", f"{guide.root}/note")
    ran = os.path.exists(f"{guide.root}/note")
    guide.check("`exec` refuses, and nothing runs on the host instead", refused.returncode != 0 and not ran)
