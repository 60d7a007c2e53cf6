"""`stages tour X`: performs a chapter on this machine, and shows at each step what the kernel's tables say.

What happens in a chapter's tour stands in its own directory, in tour.py; this is the guide that all of them share.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from stages import Rung
from stages.kernel import machine, mounts, places, signals, trees
from stages.kernel.errors import Failure

PREFIX = "zocker-tour."


def tour(rung: Rung) -> int:
    """Perform the chapter; 0 when every documented behaviour was seen, 1 when one was not.  Raises Failure.

    It works in a directory of its own, which is gone afterwards, also when it was interrupted.
    """
    if importlib.util.find_spec(f"{rung.package}.tour") is None:
        raise Failure(f"there is no tour of chapter {rung.number} yet: `stages tour commit` is there")
    if os.geteuid() != 0:
        raise Failure("a tour needs root, since it makes containers: put `sudo` in front")
    perform = importlib.import_module(f"{rung.package}.tour").perform
    sweep()
    signals.raise_when_asked_to_end()
    directory = os.path.join(tempfile.gettempdir(), f"{PREFIX}{os.getpid()}")
    os.mkdir(directory, 0o700)
    guide = Guide(rung, directory)
    try:
        perform(guide)
    except (Stopped, OSError) as error:
        guide.check(f"the tour went on to its end ({error})", False)
    finally:
        signals.hold_off()
        guide.leave()
    return guide.verdict()


def sweep() -> None:
    """Take back what tours that were killed have left."""
    for name in os.listdir(tempfile.gettempdir()):
        directory = os.path.join(tempfile.gettempdir(), name)
        owner = name.removeprefix(PREFIX)
        ours = name.startswith(PREFIX) and os.lstat(directory).st_uid == 0 and os.path.isdir(directory)
        if ours and owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            _take_back(directory)


def _take_back(directory: str) -> None:
    here = places.Places(f"{directory}/root", f"{directory}/state")
    for name in os.listdir(here.containers) if os.path.isdir(here.containers) else []:
        machine.end(here.home(name))
        machine.undo(here.home(name))
    trees.remove_tree(directory)


class Stopped(Exception):
    """What follows in a tour would make no sense."""


class Guide:
    """Runs the chapter's program, shows what came of it, and keeps count of what was promised and seen.

    `root` and `state` stand for the tutorial's /root and /var/run/zocker.
    """

    def __init__(self, rung: Rung, directory: str) -> None:
        self.rung, self.directory = rung, directory
        self.root, self.state = os.path.realpath(directory) + "/root", f"{directory}/state"
        os.mkdir(self.root, 0o700)
        self.environment = {**os.environ, "ZOCKER_ROOT": self.root, "ZOCKER_STATE": self.state}
        self.seen: list[str] = []
        self.missed: list[str] = []
        can_tick = (sys.stdout.encoding or "").lower().startswith("utf")
        self.marks = ("✓", "✗") if can_tick else ("ok", "FAILED")
        self.say(f"{rung.number}  {rung.idea}\n")
        self.say(f"The tutorial's /root is {self.root} here, and its /var/run/zocker is {self.state}.")
        self.say("Both go away at the end.")

    def say(self, text: str) -> None:
        """A sentence for the reader."""
        print(text, flush=True)

    def step(self, number: int, title: str) -> None:
        """A new step begins."""
        self.say(f"\n--- {number}. {title}")

    def do(self, *words: str, shown: str = "") -> subprocess.CompletedProcess[str]:
        """Run the chapter's program with `words`, as a person would, and show the command and what it printed.

        `shown` is how the command is written for the reader, when it isn't just its words.
        """
        from stages.kernel.step import quoted

        self.say(f"\n$ zocker {shown or quoted(*words)}")
        launcher = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.py")
        command = [sys.executable, "-IS", launcher, "stages", "run", self.rung.number, "--", *words]
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        for text in (done.stdout, done.stderr):
            if text:
                print(_indented(text), flush=True)
        if done.returncode:
            self.say(f"    (exit code {done.returncode})")
        return done

    def show(self, command: str) -> str:
        """Run a line of shell in the root, show it and what it printed, and return that."""
        self.say(f"\n# {command}")
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.root, text=True, errors="replace", capture_output=True, check=False
        )
        print(_indented(done.stdout + done.stderr), flush=True)
        return done.stdout

    def look(self, what: str, text: str) -> None:
        """Show what a table of the kernel says."""
        self.say(f"\n# {what}")
        print(_indented(text or "(nothing)"), flush=True)

    def check(self, behaviour: str, holds: object) -> None:
        """Tick a documented behaviour off, or say that it was not seen."""
        (self.seen if holds else self.missed).append(behaviour)
        self.say(f"  {self.marks[0] if holds else self.marks[1]} {behaviour}")

    def need(self, behaviour: str, holds: object) -> None:
        """Like `check`, for what all the rest stands on.  Raises Stopped."""
        self.check(behaviour, holds)
        if not holds:
            raise Stopped("what comes next stands on this")

    def remark(self, text: str) -> None:
        """Something that the printed tutorial has otherwise."""
        self.say(f"\n  ! {text}")

    def mount_at(self, target: str) -> str:
        """The kernel's line for the mount at `target`, empty when there is none."""
        mount = mounts.at(target)
        return mount.line if mount else ""

    def leave(self) -> None:
        """Give the machine back."""
        _take_back(self.directory)

    def verdict(self) -> int:
        """Say how it went, and return the exit code."""
        left = [
            mount.target for mount in mounts.table() if mount.target.startswith(os.path.realpath(self.directory) + "/")
        ]
        self.check("nothing is left behind: no mount, no directory", not left and not os.path.lexists(self.directory))
        total = len(self.seen) + len(self.missed)
        self.say(f"\n{len(self.seen)} of {total} documented behaviours seen.")
        for behaviour in self.missed:
            self.say(f"  {self.marks[1]} {behaviour}")
        return 1 if self.missed else 0


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip("\n").split("\n"))


def eventually(condition: Callable[[], object], seconds: float = 5) -> bool:
    """Wait until `condition()` is true, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
