"""A world: where a program under test runs and can do what it likes, and what is to be seen there.

A world is a mount and a pid namespace with a first process of ours (`init.py`), and a cgroup subtree that looks from inside like the
roots of the cgroup file systems. Network, host name, and the files outside /root and /var are the machine's own.
What is in it goes away with it.
"""

import ctypes
import errno
import fcntl
import os
import pty
import secrets
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness import init

KEPT = 1 << 20  # bytes of each output that are kept; the rest is read, so that nobody waits for us, and counted
GRACE = 0.5  # seconds after a command's end in which its outputs have to be closed by all others
PATIENCE = 10  # seconds for what takes milliseconds: longer only if something is wrong
MOST_PROCESSES = 300  # a fork bomb ends there
NAME = "zocker-world-"
PASSED_ON = ("cpu", "cpuset", "io", "memory", "pids")  # the v2 controllers that a runtime may want
NAMESPACES = ("mnt", "pid", "net", "ipc", "uts")
CLONE_NEWPID = 0x20000000  # clone(2)

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "xterm",
}

_libc = ctypes.CDLL(None, use_errno=True)


class WorldError(Exception):
    """A world can't be made, or can't do what was asked.  One sentence."""


@dataclass(frozen=True)
class Done:
    """How a command ended.

    `code` is its exit code, negative the number of the signal that ended it; as in a shell 127 or 126 when it could not be started.
    `out` and `err` are what it printed (undecodable bytes as surrogates; on a terminal all is in `out`), `flooded` the
    number of bytes beyond those. `timed_out`: it was ended at its limit. `seconds`: how long it took.
    `held`: half a second after its end something else still had its standard output or error open.
    """

    argv: list[str]
    code: int
    out: str
    err: str
    timed_out: bool
    seconds: float
    flooded: int
    held: bool


@dataclass(frozen=True)
class Process:
    """A line of the world's process table.

    `state` is the kernel's letter, `name` the kernel's short name, `cmdline` the words of its command, `nspid` its pid in
    this and each inner pid namespace, `start` the time of its start in clock ticks since boot.
    """

    pid: int
    ppid: int
    state: str
    name: str
    cmdline: tuple[str, ...]
    nspid: tuple[int, ...]
    start: int

    def __str__(self) -> str:
        words = " ".join(self.cmdline) or f"[{self.name}]"
        return f"{self.pid} {words[:80]}{' (a zombie)' if self.state == 'Z' else ''}"


class Stat(NamedTuple):
    """Some fields of /proc/PID/stat.  proc_pid_stat(5)"""

    name: str
    state: str
    ppid: int
    start: int


class Output:
    """One output of a command: the beginning is kept, the rest counted."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.kept = bytearray()
        self.dropped = 0
        self.ended = False
        os.set_blocking(descriptor, False)

    def read(self) -> None:
        """Take what is there now."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # how a terminal says that nobody has it open any more
                raise
            data = b""
        room = KEPT - len(self.kept)
        self.kept += data[:room]
        self.dropped += max(0, len(data) - room)
        self.ended = not data

    @property
    def text(self) -> str:
        return self.kept.decode(errors="surrogateescape")


class Running:
    """A command that was started in a world.

    What it prints is read when something here is called, not meanwhile: one that floods its output waits then, as on a slow terminal.
    """

    def __init__(self, world: "World", argv: list[str], request: bytes, stdin: bytes | None, terminal: bool) -> None:
        self.argv = argv
        self.terminal = terminal
        self._world = world
        self._waiting = stdin or b""  # what is still to be written to its standard input
        self._code: int | None = None
        self._done: Done | None = None
        report_here, report = os.pipe()
        self._report = os.fdopen(report_here, "rb", buffering=0)
        if terminal:
            self._input, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            self._outputs = [Output(self._input)]
            standard = [theirs] * 3
        else:
            theirs, self._input = os.pipe()
            out, theirs_out = os.pipe()
            err, theirs_err = os.pipe()
            self._outputs = [Output(out), Output(err)]
            standard = [theirs, theirs_out, theirs_err]
            os.set_blocking(self._input, False)
        asked = os.memfd_create("request")
        world._running.append(self)
        self._began = time.monotonic()
        tick = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
        try:
            os.write(asked, request)
            world._ask(init.RUN, [report, asked, *standard])
        finally:
            for descriptor in {report, asked, *standard}:
                os.close(descriptor)
        self.pid = self._world_pid()
        self._since = tick, self.pid  # whatever comes later in this order may be its child
        if stdin is not None and not self._waiting:
            self.close()

    def _world_pid(self) -> int:
        if not ready([self._report.fileno()], [], PATIENCE):
            raise WorldError(f"the world does not answer, so {self.argv[0]} was not started")
        word, _, rest = self._report.readline().decode().strip().partition(" ")
        if word != "began":
            raise WorldError(f"{self.argv[0]} could not be started in the world: {rest or 'it has ended'}")
        return int(rest)

    def _pump(self, seconds: float) -> None:
        """Wait until something can be read or written, no longer than `seconds`, and do it."""
        reading = [output.descriptor for output in self._outputs if not output.ended]
        if self._code is None:
            reading.append(self._report.fileno())
        found = ready(reading, [self._input] if self._waiting else [], seconds)
        for output in self._outputs:
            if not output.ended and output.descriptor in found:
                output.read()
        if self._code is None and self._report.fileno() in found:
            word, _, rest = self._report.readline().decode().strip().partition(" ")
            self._code = int(rest) if word == "ended" else -signal.SIGKILL  # the world itself has ended
        if self._waiting and self._input in found:
            try:
                self._waiting = self._waiting[os.write(self._input, self._waiting[: 1 << 16]) :]
            except BlockingIOError:
                pass
            except OSError:  # it does not want to read it
                self._waiting = b""
            if not self._waiting:
                self.close()

    def _take(self) -> None:
        for output in self._outputs:
            while not output.ended and not output.dropped and ready([output.descriptor], [], 0):
                output.read()

    def out(self) -> str:
        """What it has printed so far."""
        self._take()
        return self._outputs[0].text

    def err(self) -> str:
        """What it has printed to its standard error so far."""
        self._take()
        return self._outputs[-1].text if not self.terminal else ""

    def screen(self) -> str:
        """What the terminal was sent so far, with all control characters."""
        return self.out()

    def write(self, data: bytes) -> None:
        """Write to its standard input, or type on its terminal.  Raises WorldError when nobody reads it."""
        end = time.monotonic() + PATIENCE
        while data:
            try:
                data = data[os.write(self._input, data) :]
            except BlockingIOError:
                if time.monotonic() > end:
                    raise WorldError(f"{self.argv[0]} does not read its standard input") from None
                self._pump(0.01)
            except OSError as error:
                raise WorldError(f"the standard input of {self.argv[0]} is closed: {error.strerror}") from None

    def type(self, text: str) -> None:
        """Type on its terminal."""
        self.write(text.encode(errors="surrogateescape"))

    def close(self) -> None:
        """Close its standard input: no more will come.  Its terminal, if it has one, is hung up."""
        if self._input >= 0:
            if self.terminal:
                self._take()
                self._outputs[0].ended = True
            os.close(self._input)
            self._input = -1
            self._waiting = b""

    def signal(self, number: int) -> None:
        """Send it a signal.  Nothing happens when it has ended."""
        self._pump(0)
        if self._code is None:
            self._world._signal(self.pid, number)

    def ended(self) -> bool:
        """Has it ended?"""
        self._pump(0)
        return self._code is not None

    def wait(self, timeout: float | None = None) -> Done:
        """Wait until it ends, and kill it and what it has started after `timeout` seconds, else the world's limit."""
        if self._done:
            return self._done
        end = time.monotonic() + (self._world.limit if timeout is None else timeout)
        timed_out = False
        while self._code is None:
            self._pump(end - time.monotonic())
            if self._code is None and time.monotonic() >= end:
                if timed_out:
                    raise WorldError(f"{self.argv[0]} does not end, though it was killed")
                timed_out = True
                self._world._end(self)
                end = time.monotonic() + PATIENCE
        seconds = time.monotonic() - self._began
        # A pipe into which nobody can write any more is at its end at once. Others may be about to close theirs.
        end = time.monotonic() + GRACE
        while (held := not all(output.ended for output in self._outputs)) and time.monotonic() < end:
            self._pump(end - time.monotonic())
        flooded = sum(output.dropped for output in self._outputs)
        err = "" if self.terminal else self._outputs[1].text
        self._done = Done(self.argv, self._code, self._outputs[0].text, err, timed_out, seconds, flooded, held)
        if not held:  # else its pipes stay open as long as the world: who holds them is not to die of that
            self._forget()
        return self._done

    def _forget(self) -> None:
        """Close all, and be no longer in the world's list."""
        self.close()
        self._report.close()
        if not self.terminal:
            for output in self._outputs:
                os.close(output.descriptor)
        self._world._running.remove(self)


class Subtree:
    """The cgroup subtree of a world: one directory, under the same name, in each hierarchy of the machine.

    A lock on the first of them tells other harnesses that the world is in use: it goes away with us, however we end.
    """

    def __init__(self) -> None:
        self.hierarchies = init.cgroup_mounts()
        if not self.hierarchies:
            raise WorldError(f"no control groups are mounted at {init.CGROUPS}: mount them there")
        self.remove_forgotten()
        self.name = NAME + secrets.token_hex(6)
        self.lock = -1
        try:
            self.make()
        except OSError as error:
            self.remove()
            raise WorldError(
                f"no control group can be made for the world: {error.filename}: {error.strerror}"
            ) from None

    def make(self) -> None:
        """Make the directories, with what they need before a process may enter.  Raises OSError."""
        for target, controllers in self.hierarchies:
            directory = Path(target, self.name)
            if not controllers:
                self.pass_on(Path(target))
            directory.mkdir()
            if self.lock < 0:
                self.lock = os.open(directory, os.O_RDONLY)
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if "cpuset" in controllers.split(","):
                for file in ("cpuset.cpus", "cpuset.mems"):  # both are empty at first, and then no process may enter
                    put(directory / file, Path(target, file).read_text())
            if not controllers:
                (directory / init.LEAF).mkdir()
            with suppress(FileNotFoundError):  # no such controller here
                put(directory / "pids.max", str(MOST_PROCESSES))

    def pass_on(self, root: Path) -> None:
        """Let the machine's v2 root pass its controllers on, one at a time: if one is in use elsewhere, the others are not."""
        here = (root / "cgroup.controllers").read_text().split()
        passed = (root / "cgroup.subtree_control").read_text().split()
        for controller in PASSED_ON:
            if controller in here and controller not in passed:
                with suppress(OSError):
                    put(root / "cgroup.subtree_control", f"+{controller}")

    def add(self, pid: int) -> None:
        """Put a process into all of them.  `pid` is the harness's number.  Raises OSError."""
        for target, _ in self.hierarchies:
            put(Path(target, self.name, "cgroup.procs"), str(pid))

    def groups(self) -> Iterator[tuple[Path, str]]:
        """All groups, those above first: the directory, and the path by which it is seen in the world."""
        for target, _ in self.hierarchies:
            for directory, _, _ in os.walk(top := Path(target, self.name)):
                yield Path(directory), os.path.normpath(os.path.join(target, os.path.relpath(directory, top)))

    def thaw(self) -> None:
        """Let all run: what is frozen by v1 does not even end when it is killed."""
        for directory, _ in self.groups():
            for file, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                with suppress(OSError):  # not there, or just removed
                    put(directory / file, word)

    def remove(self) -> None:
        """Remove all of them, and wait until that is possible.  Raises WorldError when it isn't."""
        end = time.monotonic() + PATIENCE
        while left := [directory for directory, _ in self.groups()]:
            for directory in reversed(left):
                try:
                    directory.rmdir()
                except OSError as error:
                    if time.monotonic() > end:
                        raise WorldError(
                            f"the control group {directory} could not be removed: {error.strerror}"
                        ) from None
            if any(directory.exists() for directory in left):
                time.sleep(0.005)
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1

    def remove_forgotten(self) -> None:
        """Remove what harnesses left that were killed. Their processes ended with them, or do so now if they were frozen."""
        first = self.hierarchies[0][0]
        for self.name in [name for name in os.listdir(first) if name.startswith(NAME)]:
            with suppress(OSError):
                lock = os.open(f"{first}/{self.name}", os.O_RDONLY)
                try:
                    if time.time() - os.fstat(lock).st_ctime < 1:
                        continue  # it may be about to be locked
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.thaw()
                    for directory, _ in reversed(list(self.groups())):  # the one with the lock last
                        directory.rmdir()
                finally:
                    os.close(lock)


@dataclass(frozen=True)
class Look:
    """What is to be seen of a world at one moment, each thing as it is named in a sentence.

    `namespaces` tells for each namespace who holds it open.  Links and rules are the machine's.
    """

    mounts: tuple[str, ...]
    processes: tuple[str, ...]
    cgroups: tuple[str, ...]
    namespaces: dict[str, str]
    links: tuple[str, ...]
    rules: tuple[str, ...]
    files: tuple[str, ...]


def difference(before: Look, after: Look) -> list[str]:
    """What of `after` was not there `before`, and what of the machine's own is missing: a sentence for each thing."""

    def more(one: tuple[str, ...], other: tuple[str, ...]) -> list[str]:
        return sorted((Counter(one) - Counter(other)).elements())

    return [
        *(f"a mount stayed: {name}" for name in more(after.mounts, before.mounts)),
        *(f"a mount is gone: {name}" for name in more(before.mounts, after.mounts)),
        *(f"a process stayed: {name}" for name in more(after.processes, before.processes)),
        *(f"a cgroup stayed: {name}" for name in more(after.cgroups, before.cgroups)),
        *(
            f"a namespace is held open: {name} by {holder}"
            for name, holder in sorted(after.namespaces.items())
            if name not in before.namespaces
        ),
        *(f"a network link stayed: {name}" for name in more(after.links, before.links)),
        *(f"a network link is gone: {name}" for name in more(before.links, after.links)),
        *(f"a firewall rule stayed: {name}" for name in more(after.rules, before.rules)),
        *(f"a firewall rule is gone: {name}" for name in more(before.rules, after.rules)),
        *(f"a file stayed: {name}" for name in more(after.files, before.files)),
        *(f"a file is gone: {name}" for name in more(before.files, after.files)),
    ]


class World:
    """A world, to be used with `with`; see above.

    `limit` is the number of seconds after which a command is ended that has no limit of its own.
    Pids are the world's own, if nothing else is said.  Entering raises WorldError when this machine can't make one.
    """

    def __init__(self, limit: float = 30) -> None:
        self.limit = limit
        self._running: list[Running] = []

    def __enter__(self) -> "World":
        require()
        with ExitStack() as undo:
            self._subtree = Subtree()
            undo.callback(self._subtree.remove)
            self._harness, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._harness.settimeout(PATIENCE)
            undo.enter_context(self._harness)
            with theirs, open(os.memfd_create("errors"), "r+b") as errors:
                self._init = start_init(theirs.fileno(), errors.fileno())
                undo.callback(self._end_all)
                theirs.close()
                self.root = Path(f"/proc/{self._init.pid}/root")
                try:
                    # Meanwhile init makes its mounts: the first entry into a group waits for all CPUs.
                    self._subtree.add(self._init.pid)
                    self._harness.send(init.GO)
                    answer = self._harness.recv(4096)
                except OSError as error:
                    answer = str(error).encode()
                if answer != b"ready":
                    errors.seek(0)  # what Python itself had to say, if it did
                    words = errors.read().strip().rpartition(b"\n")[2] or answer or b"its init has ended"
                    raise WorldError(f"the world can't be made: {words.decode(errors='replace')}")
            # Held, since a subject may mount something else on it.
            self._proc = os.open(self.root / "proc", os.O_PATH | os.O_DIRECTORY)
            undo.callback(os.close, self._proc)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End all that runs in it, and remove its cgroups.  Raises WorldError when something does not end."""
        for running in self._running[:]:
            running._forget()
        self._undo.close()

    def _end_all(self) -> None:
        """Kill init, with which the kernel ends all others, and wait for it."""
        end = time.monotonic() + PATIENCE
        self._init.kill()
        while True:
            self._subtree.thaw()  # again and again: they may have frozen each other meanwhile
            try:
                self._init.wait(0.2)
                return
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    raise WorldError(
                        f"the world of process {self._init.pid} does not end, though it was killed"
                    ) from None

    # Commands

    def start(
        self,
        argv: list[str],
        *,
        env: dict[str, str] | None = None,
        stdin: bytes | None = None,
        cwd: str = "/root",
        terminal: bool = False,
    ) -> Running:
        """Start a command and let it run, with standard streams that are pipes, or on a terminal of its own.

        `env` is added to a small clean environment. `stdin` is what it reads, to the end; None: what will be written.
        Raises WorldError when the world is too full for it; for one that is not found see `Done`.
        """
        environment = [f"{name}={value}" for name, value in {**ENVIRONMENT, **(env or {})}.items()]
        words = [cwd, str(len(argv)), *argv, *environment]
        if not argv or any("\0" in word for word in words):
            raise WorldError(f"a command has at least one word, and no word can hold a NUL byte: {argv}")
        request = b"".join(os.fsencode(word) + b"\0" for word in words)
        return Running(self, argv, request, stdin, terminal)

    def run(
        self,
        argv: list[str],
        *,
        env: dict[str, str] | None = None,
        stdin: bytes = b"",
        cwd: str = "/root",
        timeout: float | None = None,
    ) -> Done:
        """Run a command to its end, or to its limit in seconds, and return how it ended.  For all else see `start`."""
        return self.start(argv, env=env, stdin=stdin, cwd=cwd).wait(timeout)

    def _ask(self, message: bytes, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._harness, [message], descriptors)
        except OSError as error:
            raise WorldError(f"the world has ended: {error.strerror}") from None

    def _signal(self, pid: int, number: int) -> None:
        """Send a signal, for sure to this process: its directory in /proc stands for it.  pidfd_send_signal(2)"""
        with suppress(FileNotFoundError, ProcessLookupError):
            directory = os.open(self.proc(pid), os.O_DIRECTORY | os.O_RDONLY)
            try:
                signal.pidfd_send_signal(directory, number)
            finally:
                os.close(directory)

    def _end(self, running: Running) -> None:
        """Kill a command and all that was started since then, except by other commands of ours that still run."""
        spared = {other.pid for other in self._running if other is not running and not other.ended()}
        end = time.monotonic() + 1
        while time.monotonic() < end:
            # Not `processes`: the command line of one that forks all the time is long in coming.
            table = dict(self._stats())
            victims = [
                pid
                for pid, fields in table.items()
                if (fields.start, pid) >= running._since
                and fields.state != "Z"
                and not spared & set(ancestry(pid, table))
            ]
            if not victims:
                return
            for pid in victims:
                self._signal(pid, signal.SIGKILL)
            self._subtree.thaw()  # only now, so that it does nothing more
            time.sleep(0.002)
        self._ask(init.KILL, [])  # it forks faster than we can kill

    # Files and processes

    def path(self, inside: str) -> Path:
        """A path of the world as the harness reaches it.  Absolute links on the way lead out of the world."""
        return self.root / inside.lstrip("/")

    def copy_in(self, source: Path, target: str) -> None:
        """Copy a file or a directory into the world, under the name `target`.  Raises OSError."""
        goal = self.path(target)
        goal.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, goal, symlinks=True)
        else:
            shutil.copy2(source, goal)

    def proc(self, pid: int) -> Path:
        """/proc/PID of the world's own /proc, whatever has been mounted over it since."""
        return Path(f"/proc/self/fd/{self._proc}/{pid}")

    def host_pid(self, pid: int) -> int:
        """The pid by which the harness knows a process of the world.  Raises WorldError when there is none."""
        try:
            wanted = innermost(self.proc(pid))
        except OSError:
            raise WorldError(f"there is no process {pid} in the world") from None
        for entry in os.listdir("/proc"):
            with suppress(OSError):
                if entry.isdigit() and innermost(Path("/proc", entry)) == wanted:
                    return int(entry)
        raise WorldError(f"process {pid} of the world has ended")

    def processes(self) -> list[Process]:
        """All processes of the world, its init too."""
        found = []
        for pid, fields in self._stats():
            with suppress(OSError):  # it may end while we look
                words = (self.proc(pid) / "cmdline").read_bytes().split(b"\0")[:-1]
                found.append(
                    Process(
                        pid=pid,
                        ppid=fields.ppid,
                        state=fields.state,
                        name=fields.name,
                        cmdline=tuple(os.fsdecode(word) for word in words),
                        nspid=tuple(int(number) for number in status(self.proc(pid))["NSpid"].split()),
                        start=fields.start,
                    )
                )
        return found

    def _stats(self) -> Iterator[tuple[int, Stat]]:
        """The pid of each process of the world, and what its `stat` file says."""
        for entry in os.listdir(f"/proc/self/fd/{self._proc}"):
            if entry.isdigit():
                with suppress(OSError):
                    text = (self.proc(int(entry)) / "stat").read_text(errors="surrogateescape")
                    # The name may hold anything, also blanks and parentheses.
                    name, _, rest = text.partition("(")[2].rpartition(") ")
                    fields = rest.split()
                    yield int(entry), Stat(name, fields[0], int(fields[1]), int(fields[19]))

    def mountinfo(self, pid: int | None = None) -> list[str]:
        """The lines of the kernel's table of mounts, as process `pid` has it, else the world itself.  Raises OSError."""
        # Not `splitlines`: a path may hold what that takes for the end of a line.
        return os.fsdecode((self.proc(pid or 1) / "mountinfo").read_bytes()).split("\n")[:-1]

    # The look

    def look(self, files_under: tuple[str, ...] = ("/root", "/var/run")) -> Look:
        """What is to be seen now, and which files there are under the directories `files_under`."""
        mounts = [line.partition(" - ") for line in self.mountinfo()]
        processes = [process for process in self.processes() if process.pid != 1]
        namespaces = {}
        for before, _, after in mounts:
            fields = before.split(" ")
            if after.startswith("nsfs "):
                namespaces[fields[3]] = f"the mount {fields[4]}"
        for pid, holder in [(1, "1"), *((process.pid, str(process)) for process in processes)]:
            with suppress(OSError):
                for kind in NAMESPACES:
                    namespaces.setdefault(os.readlink(self.proc(pid) / "ns" / kind), f"process {holder}")
        return Look(
            mounts=tuple(f"{before.split(' ')[4]} ({after.split(' ')[0]})" for before, _, after in mounts),
            processes=tuple(str(process) for process in processes),
            cgroups=tuple(inside for _, inside in self._subtree.groups()),
            namespaces=namespaces,
            links=tuple(name for _, name in socket.if_nameindex()),
            rules=tuple(firewall_rules()),
            files=tuple(name for directory in files_under for name in self._files(directory)),
        )

    def _files(self, inside: str) -> Iterator[str]:
        """All below a directory of the world, directories with a slash behind; not what is mounted there."""
        directories = [(self.path(inside), inside)]
        device = 0
        while directories:
            directory, name = directories.pop()
            with suppress(OSError):
                here = directory.lstat()
                device = device or here.st_dev
                if not stat.S_ISDIR(here.st_mode) or here.st_dev != device:
                    continue
                for entry in os.scandir(directory):
                    inner = f"{name}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        yield f"{inner}/"
                        directories.append((Path(entry.path), inner))
                    else:
                        yield inner


def require() -> None:
    """Raise WorldError, saying what to do, when this machine can't have worlds."""
    if os.geteuid() != 0:
        raise WorldError(
            "a world is made of namespaces, mounts and control groups, so it needs root: put `sudo` in front"
        )
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        with suppress(OSError):
            subprocess.run(["modprobe", "overlay"], capture_output=True, check=False)
        if "\toverlay\n" not in Path("/proc/filesystems").read_text():
            raise WorldError("this kernel has no overlay file system, without which no container with layers can run")


def start_init(theirs: int, errors: int) -> "subprocess.Popen[bytes]":
    """Start init as the first process of a new pid namespace, and as our own child.  Raises WorldError.

    The descriptors: its end of the socket, and a file for what Python prints when it fails.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        if _libc.unshare(CLONE_NEWPID) < 0:  # of our next child; and only of this thread's
            raise WorldError(f"no pid namespace can be made here: {os.strerror(ctypes.get_errno())}")
        try:
            return subprocess.Popen(
                [sys.executable, "-IS", init.__file__],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={},
                cwd="/",
                start_new_session=True,
            )
        finally:
            _libc.setns(own, CLONE_NEWPID)
    finally:
        os.close(own)


def put(file: Path, text: str) -> None:
    """Write to a file of the kernel's, which has to be there.  Raises OSError."""
    with open(file, "r+b", buffering=0) as opened:
        opened.write(text.encode())


def status(directory: Path) -> dict[str, str]:
    """The lines of a process's `status` file; `directory` is its directory in a /proc.  Raises OSError."""
    lines = (directory / "status").read_text(errors="surrogateescape").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def innermost(directory: Path) -> tuple[str, str]:
    """The innermost pid namespace of a process and its pid there, which are the same from wherever one looks.  Raises OSError."""
    return os.readlink(directory / "ns/pid"), status(directory)["NSpid"].split()[-1]


def ancestry(pid: int, table: dict[int, Stat]) -> Iterator[int]:
    """The pid of a process, of its parent, of its parent's parent and so on, as `table` has them."""
    while pid in table:
        yield pid
        pid = table[pid].ppid


def ready(reading: list[int], writing: list[int], seconds: float) -> set[int]:
    """Which of these descriptors can be read or written, after waiting for that no longer than `seconds`."""
    poll = select.poll()  # not `select`, which knows no descriptor above 1023
    for descriptor in reading:
        poll.register(descriptor, select.POLLIN)
    for descriptor in writing:
        poll.register(descriptor, select.POLLOUT | (select.POLLIN if descriptor in reading else 0))
    return {descriptor for descriptor, _ in poll.poll(max(0, seconds) * 1000)}


def firewall_rules() -> Iterator[str]:
    """The machine's firewall rules, one a line, without counters; none when there is no tool to ask."""
    if shutil.which("nft"):
        done = subprocess.run(["nft", "-s", "list", "ruleset"], capture_output=True, text=True, check=False)
        path: list[str] = []  # the table and the chain that we are in
        for line in done.stdout.splitlines():
            if line.endswith("{"):
                path.append(line.strip(" \t{"))
            elif line.strip() == "}":
                path.pop()
            elif line.strip():
                yield " / ".join([*path, line.strip()])
    elif shutil.which("iptables-save"):
        done = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False)
        yield from (line for line in done.stdout.splitlines() if line.startswith("-A"))
