"""A world: where a program under test runs and can do what it likes, and what is to be seen there.

A world is a mount, a pid and a network namespace with a first process of ours (`init.py`), and a cgroup subtree that looks from
inside like the roots of the cgroup file systems. Its network is lo: no link, address or firewall rule is the machine's.
Host name, System V IPC, kernel modules, and the files outside /root, /var, /run, /proc and /sys are the machine's own.
What is in it goes away with it.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from harness import init
from harness.errors import WorldError
from harness.processes import Process, Stat, ancestry, innermost, status
from harness.running import PATIENCE, Done, Running
from harness.subtree import Subtree

CLONE_NEWPID = 0x20000000  # clone(2)

ASK_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Imported, so that Python need not compile it each time.
START = "import sys; sys.path.append(sys.argv.pop(1)); import init; init.main()"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "xterm",
}

_libc = ctypes.CDLL(None, use_errno=True)


class World:
    """A world, to be used with `with`; see above.

    `limit` is the number of seconds after which a command is ended that has no limit of its own.
    The machine's directories `kept` are there, also if they are below /root, /var or /run.
    Pids are the world's own, if nothing else is said.  Entering raises WorldError when this machine can't make one.
    """

    def __init__(self, limit: float = 30, kept: Iterable[str] = ()) -> None:
        self.limit, self.kept = limit, tuple(kept)
        self._running: list[Running] = []

    def __enter__(self) -> "World":
        require()
        with ExitStack() as undo:
            with uninterrupted():
                self._make(undo)
            self._undo = undo.pop_all()
        return self

    def _make(self, undo: ExitStack) -> None:
        self.subtree = Subtree()
        undo.callback(self.subtree.remove)
        self._harness, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._harness.settimeout(PATIENCE)
        undo.enter_context(self._harness)
        with theirs, open(os.memfd_create("errors"), "r+b") as errors:
            self._init = start_init(theirs.fileno(), errors.fileno(), self.kept)
            undo.callback(self._end_all)
            theirs.close()
            self.root = Path(f"/proc/{self._init.pid}/root")
            try:
                # Meanwhile init makes its mounts: the first entry into a group waits for all CPUs.
                self.subtree.add(self._init.pid)
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

    def __exit__(self, *_: object) -> None:
        """End all that runs in it, and remove its cgroups.  Raises WorldError when something does not end."""
        with uninterrupted():
            for running in self._running[:]:
                running._forget()
            self._undo.close()

    def _end_all(self) -> None:
        """Kill init, with which the kernel ends all others, and wait for it."""
        end = time.monotonic() + PATIENCE
        self._init.kill()
        while True:
            self.subtree.thaw()  # again and again: they may have frozen each other meanwhile
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
        return Running(self, argv, _request(argv, {**ENVIRONMENT, **(env or {})}, cwd), stdin, terminal)

    def lend(self, argv: list[str], env: dict[str, str], cwd: str) -> int:
        """Run a command with our own standard streams and with this environment, and return its exit code, as in `Done`."""
        report_here, report = os.pipe()
        asked = os.memfd_create("request")
        os.write(asked, _request(argv, env, cwd))
        self._ask(init.RUN, [report, asked, 0, 1, 2])
        os.close(asked)
        os.close(report)
        with open(report_here) as reports:
            word, _, rest = reports.read().splitlines()[-1].partition(" ")
        if word != "ended":
            raise WorldError(f"{argv[0]} could not be started in the world: {rest}")
        return int(rest)

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

    def signal(self, pid: int, number: int) -> None:
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
                self.signal(pid, signal.SIGKILL)
            self.subtree.thaw()  # only now, so that it does nothing more
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


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Who asks us to end has to wait meanwhile: half of a world would be left behind."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASK_TO_END)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _request(argv: list[str], env: dict[str, str], cwd: str) -> bytes:
    """What init is asked for, in its words: see `init.execute`.  Raises WorldError."""
    words = [cwd, str(len(argv)), *argv, *(f"{name}={value}" for name, value in env.items())]
    if not argv or any("\0" in word for word in words):
        raise WorldError(f"a command has at least one word, and no word can hold a NUL byte: {argv}")
    return b"".join(os.fsencode(word) + b"\0" for word in words)


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


def start_init(theirs: int, errors: int, kept: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    """Start init as the first process of a new pid namespace, and as our own child.  Raises WorldError.

    The descriptors: its end of the socket, and a file for what Python prints when it fails.  For `kept` see `World`.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        if _libc.unshare(CLONE_NEWPID) < 0:  # of our next child; and only of this thread's
            raise WorldError(f"no pid namespace can be made here: {os.strerror(ctypes.get_errno())}")
        try:
            return subprocess.Popen(
                [sys.executable, "-IS", "-c", START, os.path.dirname(init.__file__), *kept],
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
