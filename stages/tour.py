"""`stages tour X`: performs a chapter on this machine, and shows at each step what the kernel's tables say.

What happens in a chapter's tour stands in its own directory, in tour.py; this is the guide that all of them share.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from stages import Rung
from stages.kernel import locks, machine, mounts, places, signals, trees
from stages.kernel.errors import Failure, Interrupted
from stages.progress import Progress

PREFIX = "zocker-tour."
PATIENCE = 20  # seconds for one command
TYPED = "-- what was typed is done --"


def tour(rung: Rung, pause: bool = False) -> int:
    """Perform the chapter; 0 when every documented behaviour was seen, 1 when one was not.  Raises Failure.

    It works in a directory of its own, which is gone afterwards, also when it was interrupted.  With `pause` it waits for a
    key before each step, if there is a terminal.
    """
    if importlib.util.find_spec(f"{rung.package}.tour") is None:
        raise Failure(f"there is no tour of chapter {rung.number} yet: `stages tour commit` is there")
    if os.geteuid() != 0:
        raise Failure("a tour needs root, since it makes containers: put `sudo` in front")
    chapter = importlib.import_module(f"{rung.package}.tour")
    sweep()
    signals.raise_when_asked_to_end()
    directory = os.path.join(tempfile.gettempdir(), f"{PREFIX}{os.getpid()}")
    # Held as long as we live: a pid would not do, for who sweeps may be in another pid namespace. Nobody sweeps `new`.
    new = tempfile.mkdtemp(prefix="new-zocker-tour.")
    lock = locks.take_directory(new)
    os.rename(new, directory)
    guide = Guide(rung, directory, steps_in(chapter), pause and sys.stdin.isatty() and sys.stdout.isatty())
    try:
        chapter.perform(guide)
    except (Stopped, OSError) as error:
        guide.check(f"the tour went on to its end ({error})", False)
    finally:
        signals.hold_off()
        guide.progress.hide()
        guide.leave()
        if lock is not None:
            locks.release(lock)
    return guide.verdict()


def steps_in(chapter: ModuleType) -> int:
    """How many steps the chapter's tour has, by its source."""
    with open(str(chapter.__file__)) as source:
        return source.read().count("guide.step(")


def sweep() -> None:
    """Take back what tours that were killed have left."""
    for name in os.listdir(tempfile.gettempdir()):
        directory = os.path.join(tempfile.gettempdir(), name)
        if not name.startswith(PREFIX) or os.lstat(directory).st_uid != 0 or not os.path.isdir(directory):
            continue
        if (lock := locks.take_directory(directory, wait=False)) is not None:
            try:
                _take_back(directory)
            finally:
                locks.release(lock)


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

    def __init__(self, rung: Rung, directory: str, steps: int, pause: bool = False) -> None:
        self.rung, self.directory, self.pause = rung, directory, pause
        self.progress, self.steps_done = Progress(steps, "steps"), -1  # none has begun
        self.begun: list[subprocess.Popen[str]] = []
        self.root, self.state = os.path.realpath(directory) + "/root", f"{directory}/state"
        os.mkdir(self.root, 0o700)
        self.environment = {**os.environ, "ZOCKER_ROOT": self.root, "ZOCKER_STATE": self.state}
        self.seen: list[str] = []
        self.missed: list[str] = []
        can_tick = (sys.stdout.encoding or "").lower().startswith("utf")
        self.marks = ("✓", "✗") if can_tick else ("ok", "FAILED")
        self.say(f"{rung.number}  {rung.idea}\n")
        self.say(f"The tutorial's /root is {self.root} here, and its /var/run/zocker is {self.state}.")
        self.say(f"Both go away at the end. `zocker` stands for `stages run {rung.number} --`.")

    def say(self, text: str) -> None:
        """A sentence for the reader."""
        self.progress.hide()
        print(text, flush=True)

    def step(self, number: int, title: str) -> None:
        """A new step begins."""
        self.steps_done += 1
        if self.pause:
            self.progress.hide()
            wait_for_a_key("\n(a key goes on, q ends the tour)")
        self.say(f"\n--- {number}. {title}")

    def do(self, *words: str, shown: str = "", typed: str = "") -> subprocess.CompletedProcess[str]:
        """Run the chapter's program with `words`, as a person would, and show the command and what it printed.

        `shown` is how the command is written for the reader, when it isn't just its words; `typed` is what is typed there.
        """
        from stages.kernel.step import quoted

        self.say("\n    # ".join([f"\n$ zocker {shown or quoted(*words)}", *typed.splitlines()]))
        # Into files: of a pipe, who reads it would wait for a detached container too, if that still has its other end.
        with (
            tempfile.TemporaryFile("w+", errors="replace") as out,
            tempfile.TemporaryFile("w+", errors="replace") as err,
        ):
            code = self._run(words, typed, out.fileno(), err.fileno())
            out.seek(0)
            err.seek(0)
            done = subprocess.CompletedProcess(words, code, out.read(), err.read())
        for text in (done.stdout, done.stderr):
            if text:
                self.say(_indented(text))
        if done.returncode:
            self.say(f"    (exit code {done.returncode})")
        return done

    def _run(self, words: tuple[str, ...], typed: str, out: int, err: int) -> int:
        with tempfile.TemporaryFile("w+") as keys:
            keys.write(typed)
            keys.seek(0)
            return self._to_its_end(self._command(words), " ".join(words), stdin=keys, stdout=out, stderr=err)

    def _to_its_end(self, command: list[str], name: str, **how: Any) -> int:
        """Start a command and return its exit code.  Raises Stopped when it does not end, and Interrupted when asked to."""
        deadline = time.monotonic() + PATIENCE
        with undisturbed() as requests:
            process = subprocess.Popen(command, env=self.environment, cwd=self.root, **how)
            while process.poll() is None and not requests and time.monotonic() < deadline:
                self.progress.show(self.steps_done)
                time.sleep(0.002)
            late = process.poll() is None
            if late:
                process.kill()
            code = process.wait()
        if late:
            raise Stopped(f"this did not end within {PATIENCE} s: {name}")
        return code

    def begin(self, *words: str, shown: str = "") -> "subprocess.Popen[str]":
        """Begin the program as in a first terminal, and go on in a second one; its input and output are pipes.

        What still runs at the end of the tour is ended.
        """
        from stages.kernel.step import quoted

        self.say(f"\n$ zocker {shown or quoted(*words)}    (and it goes on, in a first terminal)")
        pipe = subprocess.PIPE
        with undisturbed():
            process = subprocess.Popen(
                self._command(words),
                env=self.environment,
                cwd=self.root,
                text=True,
                errors="replace",
                stdin=pipe,
                stdout=pipe,
            )
            self.begun.append(process)
        return process

    def first(self, process: "subprocess.Popen[str]", seconds: float = 5) -> int:
        """The pid, as the host counts it, of the PID 1 that a begun program has started, once it is the command; 0 for none."""
        found = 0

        def look() -> bool:
            nonlocal found
            ours = command_line(process.pid)  # until it executes the command, its own is a copy of this
            new = (pid for pid in children(process.pid) if numbers(pid)[1:] == ["1"])
            found = next((pid for pid in new if command_line(pid) not in ("", ours)), 0)
            return bool(found) or process.poll() is not None

        eventually(look, seconds)
        return found

    def type(self, process: "subprocess.Popen[str]", line: str) -> str:
        """Type a line into the shell that a begun program runs, show it and what it printed, and return that."""
        self.say(f"\n/ # {line}    (in the first terminal)")
        printed = ""
        if process.stdin and process.stdout:
            process.stdin.write(f"{line}\necho {TYPED}\n")
            process.stdin.flush()
            while (part := process.stdout.readline()) and part != f"{TYPED}\n":
                printed += part
        if printed:
            self.say(_indented(printed))
        return printed

    def leave_shell(self, process: "subprocess.Popen[str]") -> int | None:
        """Leave the shell that a begun program runs, and return that program's exit code; None when it does not end."""
        self.type(process, "exit")
        eventually(lambda: process.poll() is not None)
        return process.poll()

    def end(self, process: "subprocess.Popen[str]") -> None:
        """End what was begun, a container as if its command had ended.  Harmless when it has ended."""
        if process.poll() is None:
            first = self.first(process, 0)
            try:
                os.kill(first or process.pid, signals.SIGKILL if first else signals.SIGTERM)
            except ProcessLookupError:
                pass  # just now
            process.communicate()

    def ps(self) -> "defaultdict[str, defaultdict[str, str]]":
        """Do `ps`, and return its rows by the containers' names, each by the names of the columns; empty what is not there."""
        head, *lines = self.do("ps").stdout.splitlines() or [""]
        starts = [match.start() for match in re.finditer(r"\S+", head)]
        columns = list(zip(head.split(), starts, [*starts[1:], None], strict=True))
        rows: defaultdict[str, defaultdict[str, str]] = defaultdict(lambda: defaultdict(str))
        for line in lines:
            row = {name: line[start:end].strip() for name, start, end in columns}
            rows[row.get("NAME", "")].update(row)
        return rows

    def _command(self, words: tuple[str, ...]) -> list[str]:
        launcher = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.py")
        return [sys.executable, "-IS", launcher, "stages", "run", self.rung.number, "--", *words]

    def show(self, command: str) -> str:
        """Run a line of shell in the root, show it and what it printed, and return that."""
        self.say(f"\n# {command}")
        with (
            tempfile.TemporaryFile("w+", errors="replace") as out,
            tempfile.TemporaryFile("w+", errors="replace") as err,
        ):
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
            self._to_its_end(["sh", "-c", command], command, **streams)
            out.seek(0)
            err.seek(0)
            printed, errors = out.read(), err.read()
        if printed + errors:
            self.say(_indented(printed + errors))
        return printed

    def look(self, what: str, text: str) -> None:
        """Show what a table of the kernel says."""
        self.say(f"\n# {what}")
        self.say(_indented(text or "(nothing)"))

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

    def read(self, name: str) -> str:
        """The text of a file in the root; empty when there is none."""
        try:
            with open(f"{self.root}/{name}", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def names(self, directory: str = ".") -> list[str]:
        """What `ls` shows in a directory of the root, sorted; nothing when there is none."""
        here = f"{self.root}/{directory}"
        return sorted(name for name in (os.listdir(here) if os.path.isdir(here) else []) if name[0] != ".")

    def mount_at(self, target: str) -> str:
        """The kernel's line for the mount at `target`, empty when there is none."""
        mount = mounts.at(target)
        return mount.line if mount else ""

    def leave(self) -> None:
        """Give the machine back."""
        for process in self.begun:
            self.end(process)
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


@contextmanager
def undisturbed() -> Iterator[list[int]]:
    """Requests to end are put into this list meanwhile, and raised as Interrupted afterwards.

    Raised in the middle of `subprocess` they could leave it locked for ever, or a process that nobody knows of.
    """
    noted: list[int] = []
    signals.note_requests(noted)
    try:
        yield noted
    finally:
        signals.raise_when_asked_to_end()
    if noted:
        signals.hold_off()
        raise Interrupted(noted[0])


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


def host_mounts() -> list[str]:
    """The lines of the host's table of mounts, but not of mounts that can't be reached: the kernel may take those away."""
    return [mount.line for mount in mounts.table() if os.path.lexists(mount.target)]


def are_as_before(lines: list[str]) -> bool:
    """Is the host's table of mounts still (within a second) these `lines`, but for those whose directories somebody removed?"""

    def same() -> bool:
        return host_mounts() == [line for line in lines if os.path.lexists(mounts.Mount(line).target)]

    return eventually(same, 1)


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and field(int(entry), "PPid") == str(pid)]


def numbers(pid: int) -> list[str]:
    """The process's numbers, the host's first, then one for each inner pid namespace: the line NSpid of its status."""
    return field(pid, "NSpid").split()


def command_line(pid: int) -> str:
    """The words of a process's command, each with a NUL behind it; empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/cmdline", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def field(pid: int, key: str) -> str:
    """A line of /proc/PID/status; empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/status", errors="replace") as file:
            lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except OSError:
        return ""
    return lines.get(key, "").strip()


def wait_for_a_key(prompt: str) -> None:
    """Show `prompt` and wait for one key at the terminal; raises Interrupted for a q."""
    import termios
    import tty

    print(prompt, end="", flush=True)
    settings = termios.tcgetattr(0)
    try:
        tty.setcbreak(0)
        key = os.read(0, 1)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, settings)
    print("\r" + " " * len(prompt), end="\r", flush=True)
    if key in (b"q", b"Q", b""):
        signals.hold_off()
        raise Interrupted(signals.SIGINT)
