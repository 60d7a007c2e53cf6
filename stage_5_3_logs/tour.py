"""The tutorial's chapter 5.3, step by step: a container called seven prints, and `logs seven -f` follows it."""

import os
import select
import subprocess

from stages.tour import Guide, eventually

COMMAND = "echo hello; for n in 1 2; do until [ -e /go/$n ]; do sleep 0.02; done; echo line $n >&$n; done"


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    log = os.path.realpath(guide.state) + "/seven/container.log"
    _start(guide, log)
    _follow(guide)
    _afterwards(guide, log)


def _start(guide: Guide, log: str) -> None:
    guide.step(1, "A detached container prints hello; a line more when there is go/1, another when there is go/2")
    words = ("--name", "seven", "-v", f"{guide.root}/go:/go", "sh", "-c", COMMAND)
    guide.need("seven is started, and nobody waits for it", guide.do("run", "-d", *words).returncode == 0)
    pid = guide.ps()["seven"]["PID"]
    guide.step(2, "Where its output goes: places 1 and 2 in its table of open files")
    files = guide.show(f"readlink /proc/{pid}/fd/1 /proc/{pid}/fd/2").splitlines()
    guide.check("its standard output is container.log, beside its record", files[:1] == [log])
    guide.check("its standard error is the same file", files[1:] == [log])
    eventually(lambda: os.path.getsize(log))
    guide.check("`logs` prints what is in that file", guide.do("logs", "seven").stdout == "hello\n")


def _follow(guide: Guide) -> None:
    guide.step(3, "Follow it, and let it print more")
    follower = guide.begin("logs", "seven", "-f")
    guide.check("`logs -f` begins with what is there already", _heard(guide, follower) == "hello\n")
    for line, name in (("line 1", "standard output"), ("line 2", "standard error")):
        guide.show(f"touch go/{line[-1]}")
        guide.check(f"a line is added, on {name}: only that line is printed", _heard(guide, follower) == f"{line}\n")
    ended = eventually(lambda: follower.poll() is not None)
    guide.check("when the container has ended, so does `logs -f`", ended and follower.returncode == 0)


def _heard(guide: Guide, follower: "subprocess.Popen[str]") -> str:
    """What comes next in the first terminal; it is waited for."""
    assert follower.stdout
    ready, _, _ = select.select([follower.stdout], [], [], 5)
    text = os.read(follower.stdout.fileno(), 65536).decode(errors="replace") if ready else ""
    guide.look("in the first terminal comes", text)
    return text


def _afterwards(guide: Guide, log: str) -> None:
    guide.step(4, "Its process is gone; its log is not")
    guide.check("`ps` says that it has ended", guide.ps()["seven"]["STATUS"] == "exited")
    guide.show(f"ls -l {os.path.dirname(log)}")
    files = sorted(os.listdir(os.path.dirname(log)))
    guide.check("config.json and container.log are there", files == ["config.json", "container.log"])
    printed = [guide.do("logs", *words).stdout for words in (("seven", "-f"), ("-f", "seven"))]
    guide.check("`logs` prints it all, and the flag may come first", printed == ["hello\nline 1\nline 2\n"] * 2)
