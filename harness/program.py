"""A subject at work in a world: its verbs as calls, and where to look for what they did."""

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from harness import engines, patience, tars
from harness.errors import WorldError
from harness.expect import MISSING, Mismatch, Row, expect_all, expect_end
from harness.processes import Process
from harness.running import Done, Running
from harness.subjects import Subject
from harness.world import World

COLUMNS = ("ID", "NAME", "PID", "STATUS", "COMMAND", "CREATED")  # of `ps`

Options = list[tuple[str, dict[str, str]]]


class Program:
    """The program under test.

    Every call is kept in `history` as (words, how it ended, or what was started), for the report of a check that fails.
    """

    def __init__(self, subject: Subject, world: World) -> None:
        self.subject, self.world = subject, world
        self.history: list[tuple[list[str], Done | Running]] = []
        self.begun: list[Running] = []  # foreground containers
        self.firsts: dict[Running, int] = {}  # the PID 1 of those of them that have appeared
        self.detached: list[str] = []  # containers that `run -d` has made and no `rm` has removed; unnamed ones as ""
        self.images = {"busybox"}
        self.volumes: set[str] = set()  # directories of the host's
        self.there_first = frozenset[str]()  # what was in /root before the program was ever called, by name
        self.mounts_first: list[str] = []  # the world's mountinfo then
        self.machine_first: set[str] = set()  # and where the machine had mounts
        self.crashed = False  # the check kills the program at work: what is left then is not looked at
        self._before: set[int] = set()  # the processes that were there when the last `run` began

    def knows(self, chapter: str) -> bool:
        """Does the subject claim to have this chapter?"""
        return self.subject.knows(chapter)

    # --- verbs ---

    def run(
        self, *command: str, timeout: float | None = None, stdin: bytes = b"", cwd: str = "/root", **how: object
    ) -> Done:
        """`run` to its end.  How: name, image, detach, terminal, memory, shares, cpuset, volumes, variables.

        And `through`: the words of a command that starts the program, such as `env SECRET=1`.
        """
        words = self._run_words(command, how)
        self._before = {process.pid for process in self.world.processes()}
        return self._do(words, timeout, stdin, cwd)

    def begin(self, *command: str, tty: bool = False, cwd: str = "/root", **how: object) -> Running:
        """`run` in the foreground, and go on.  With `tty` on a terminal of its own."""
        words = self._run_words(command, how)
        self._before = {process.pid for process in self.world.processes()}
        running = self._begin(words, tty, cwd)
        self.begun.append(running)
        return running

    def detach(self, *command: str, name: str | None = None, **how: object) -> int:
        """`run -d`, and the pid of the PID 1 of its container.  Raises Mismatch when it fails, or there is no such process."""
        expect_end(self.run(*command, detach=True, name=name, **how))  # type: ignore[arg-type]
        return self.appeared(*command)

    def stay(self, **how: object) -> tuple[Running, int]:
        """A foreground container that stays: the program, which waits for it, and the pid of its PID 1."""
        command = long_sleep()
        running = self.begin(*command, **how)  # type: ignore[arg-type]
        return running, self.appeared(*command, runtime=running)

    def appeared(self, *command: str, runtime: Running | None = None, seconds: float = 10) -> int:
        """The pid of the container that the last `run` or `begin` started, once it executes `command`.

        That is a process which is PID 1 of a new pid namespace.  Raises Mismatch when none comes; at once when `runtime` has
        ended, or no process is there that wasn't before.
        """
        deadline = patience.until(seconds)
        while True:
            over = time.monotonic() > deadline or (runtime is not None and runtime.ended())
            new = [process for process in self.world.processes() if process.pid not in self._before]
            for process in new:
                if process.cmdline == command and is_first(process):
                    if runtime:
                        self.firsts[runtime] = process.pid
                    return process.pid
            if over or not new:  # out of nothing nothing comes
                break
            time.sleep(0.01)
        means = "The command was not executed, or the program was over before it."
        if any(process.cmdline == command and not is_first(process) for process in new):
            means = (
                "The command runs, but not as PID 1 of a pid namespace of its own: CLONE_NEWPID is for the next child."
            )
        others = [Row("", None, str(process)) for process in new if is_first(process)]
        where = "the processes that are PID 1 of a pid namespace"
        refused = runtime is not None and runtime.ended() and runtime.wait().code != 0
        raise Mismatch(where, [Row(MISSING, " ".join(command), None), *others], means, strong=not refused)

    def exec(self, name: str, *command: str, timeout: float | None = None, stdin: bytes = b"") -> Done:
        """`exec` to its end."""
        return self._do(self.subject.words("exec", [], name=name, command=list(command)), timeout, stdin)

    def begin_exec(self, name: str, *command: str, tty: bool = False, through: Iterable[str] = ()) -> Running:
        """`exec`, and go on."""
        return self._begin([*through, *self.subject.words("exec", [], name=name, command=list(command))], tty)

    def stay_in(self, name: str, through: Iterable[str] = ()) -> int:
        """The pid of a process that `exec` has started in the container, and that stays.  Raises Mismatch when none comes."""
        command = long_sleep()
        running = self.begin_exec(name, *command, through=through)

        def joined() -> int:
            inside = [p.pid for p in self.world.processes() if p.cmdline == command and len(p.nspid) > 1]
            return inside[0] if inside else -int(running.ended())

        pid = int(str(eventually(joined)))
        if pid <= 0:
            outside = [Row("", None, f"{p}, on the host") for p in self.world.processes() if p.cmdline == command]
            means = "`exec` did not execute the command."
            if outside:
                means = "The command is not in the namespace: setns of a pid namespace counts for children only, so fork after it."
            where = "the processes in the container's pid namespace"
            raise Mismatch(where, [Row(MISSING, " ".join(command), None), *outside], means)
        return pid

    def commit(self, name: str, image: str) -> Done:
        """`commit`: of the container `name`, where the chapter lets one name it."""
        self.images.add(image)
        return self._do(self.subject.words("commit", [], name=name, image=image))

    def begin_commit(self, name: str, image: str) -> Running:
        """`commit`, and go on."""
        self.images.add(image)
        return self._begin(self.subject.words("commit", [], name=name, image=image))

    def begin_follow(self, name: str) -> Running:
        """`logs -f`."""
        return self._begin(self.subject.words("follow", [], name=name))

    def logs(self, name: str) -> Done:
        """`logs`."""
        return self._do(self.subject.words("logs", [], name=name))

    def ps(self) -> Done:
        """`ps`."""
        return self._do(self.subject.words("ps", []))

    def rows(self) -> list[dict[str, str]]:
        """The table that `ps` prints, a dictionary a row.  Raises Mismatch when it fails, or prints no table.

        A cell may be empty, so it is the columns of the header that count.
        """
        done = self.ps()
        expect_end(done)
        header, *lines = done.out.splitlines() or [""]
        columns = [(word.group(), word.start()) for word in re.finditer(r"\S+", header)]
        expect_all([name for name, _ in columns], COLUMNS, "the header that `ps` prints")
        ends = [*(start for _, start in columns[1:]), None]
        return [
            {name: line[start:end].strip() for (name, start), end in zip(columns, ends, strict=True)} for line in lines
        ]

    def row(self, name: str) -> dict[str, str]:
        """The row of one container in `ps`; empty when there is none."""
        return next((row for row in self.rows() if row["NAME"] == name), {})

    def stop(self, name: str) -> Done:
        """`stop`."""
        return self._do(self.subject.words("stop", [], name=name))

    def rm(self, name: str) -> Done:
        """`rm`."""
        done = self._do(self.subject.words("rm", [], name=name))
        if done.code == 0 and name in self.detached:
            self.detached.remove(name)
        return done

    def kill(self, pid: int) -> None:
        """Kill a process of the world, if it is still there."""
        with suppress(WorldError, ProcessLookupError):
            os.kill(self.world.host_pid(pid), signal.SIGKILL)

    def end(self, running: Running) -> Done:
        """End a foreground container, as if its command had ended, and wait for the program."""
        if not running.ended():
            parents = {p.pid: p.ppid for p in self.world.processes()}
            for pid in self.containers():
                if pid == self.firsts.get(running) or running.pid in ancestors(pid, parents):
                    self.kill(pid)
                    break
            else:
                running.signal(signal.SIGTERM)
        return running.wait(10)

    def clean(self) -> bool:
        """End what the check has started, with the program's own verbs.  False when it has no `rm` for what it has made."""
        for running in self.begun:
            self.end(running)
        if not self.detached:
            return True
        if not self.knows("5.6"):
            return False
        for name in self.detached[:]:
            self.stop(name)
            self.rm(name)
        return True

    def failed_last(self) -> bool:
        """Has the last call failed, and no check expected that?  Then what is found does not say much."""
        calls = [how for _, how in self.history if isinstance(how, Done)]
        return bool(calls) and calls[-1].failed and not calls[-1].looked_at

    def _run_words(self, command: Iterable[str], how: dict[str, object]) -> list[str]:
        options: Options = []
        for switch in ("terminal", "detach"):
            if how.pop(switch, False):
                options.append((switch, {}))
        if ("detach", {}) not in options:
            options.append(("foreground", {}))
        for key in ("name", "memory", "shares", "cpuset"):
            if (value := how.pop(key, None)) is not None:
                options.append((key, {key: str(value)}))
        if ("detach", {}) in options:
            self.detached.append(next((given["name"] for option, given in options if option == "name"), ""))
        for host, inside in how.pop("volumes", ()):  # type: ignore[attr-defined]
            self.volumes.add(host)
            options.append(("volume", {"host": host, "inside": inside}))
        for variable in how.pop("variables", ()):  # type: ignore[attr-defined]
            options.append(("variable", {"variable": variable}))
        image = str(how.pop("image", "busybox"))
        self.images.add(image)
        through: Iterable[str] = how.pop("through", ())  # type: ignore[assignment]
        assert not how, f"run has no {how}"
        return [*through, *self.subject.words("run", options, image=image, command=list(command))]

    def _do(self, words: list[str], timeout: float | None = None, stdin: bytes = b"", cwd: str = "/root") -> Done:
        done = self.world.run(words, env=self.subject.environment, timeout=timeout, stdin=stdin, cwd=cwd)
        self.history.append((words, done))
        return done

    def _begin(self, words: list[str], tty: bool = False, cwd: str = "/root") -> Running:
        running = self.world.start(words, env=self.subject.environment, terminal=tty, cwd=cwd)
        self.history.append((words, running))
        return running

    # --- what to give it ---

    def new_name(self) -> str | None:
        """A name for a container, where the chapter lets one give it."""
        return fresh("bird") if self.knows("5.2") else None

    def make_image(
        self, image: str, files: "dict[str, str] | None" = None, links: "dict[str, str] | None" = None
    ) -> None:
        """Make an image: busybox, with these files (path: content) and symbolic links (path: target) in it."""
        self.images.add(image)
        shutil.copy(self.tarball("busybox"), self.tarball(image))
        tars.add(self.tarball(image), files or {}, links or {})
        engines.load(self.subject, self.world, image)

    # --- where to look ---

    def place(self, place: str, /, **values: str) -> str:
        """A path of the subject's, as the world names it.  Raises Mismatch when it has to be asked, and does not know."""
        words = self.subject.finder(place, **values)
        if not words:
            return self.subject.place(place, **values)
        done = self.world.run(words, env=self.subject.environment)
        path = done.out.strip()
        if done.code or not path.startswith("/"):
            raise Mismatch(f"what `{shlex.join(words)}` prints", [Row(MISSING, "a path", path or done.err.strip())])
        return path

    def there(self, place: str, /, **values: str) -> bool:
        """Is something in this place?  No, if the subject has to be asked for it, and knows none."""
        with suppress(Mismatch):
            return os.path.lexists(self.world.path(self.place(place, **values)))
        return False

    def layer(self, name: str = "") -> Path:
        """The container's write layer."""
        return self.world.path(self.place("layer", name=name))

    def view(self, name: str = "") -> Path:
        """Where the host sees the merged view."""
        return self.world.path(self.place("view", name=name))

    def tarball(self, image: str) -> Path:
        """An image as a tar."""
        return self.world.path(self.place("tarball", image=image))

    def image(self, image: str = "busybox") -> Path:
        """An image's unpacked root directory."""
        return self.world.path(self.place("image", image=image))

    def record(self, name: str) -> Path:
        """The directory of the container's record."""
        return self.world.path(self.place("record", name=name))

    def containers(self) -> set[int]:
        """The processes (as the world counts them) that are PID 1 of a pid namespace below the world's."""
        return {process.pid for process in self.world.processes() if is_first(process)}

    def first(self, name: str) -> int:
        """The container's PID 1 as the world counts it; 0 when the subject's record names none."""
        if self.subject.pid:
            words = self.subject.command(self.subject.pid, name=name)
            answer = self.world.run(words, env=self.subject.environment).out.strip()
            return int(answer) if answer.isdigit() else 0
        try:
            record = json.loads((self.record(name) / "config.json").read_text())
            pid = str(record["pid"]).strip()
        except (OSError, ValueError, LookupError, TypeError):
            return 0
        return int(pid) if pid.isdecimal() else 0


def is_first(process: Process) -> bool:
    """Is it the living PID 1 of a pid namespace below the world's?"""
    return len(process.nspid) > 1 and process.nspid[-1] == 1 and process.state != "Z"


def ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    """The parent, its parent, and so on."""
    while pid := parents.get(pid, 0):
        yield pid


def fresh(word: str = "t") -> str:
    """A name or a content that nobody can have hard-coded."""
    return f"{word}-{secrets.token_hex(5)}"


def long_sleep() -> tuple[str, str]:
    """A command that stays until it is ended, and that no other check uses."""
    return "sleep", str(10**6 + secrets.randbelow(10**6))


def until(path: str) -> str:
    """Shell words that wait until there is the file `path`."""
    return f"until [ -e {path} ]; do sleep 0.02; done"


def eventually(condition: Callable[[], object], seconds: float = 10) -> object:
    """Wait until `condition()` is true, at most `seconds`, and return what it returned last."""
    deadline = patience.until(seconds)
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return value
