"""What the behaviours share: which chapters one holds in, how a chapter is called, and the kernel's tables read from outside."""

import ctypes
import fcntl
import os
import secrets
import select
import shlex
import shutil
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stages import LADDER
from tests.conftest import STAGES, Result, Stage, eventually

NUMBERS = [rung.number for rung in LADDER]
ROOT_DIRECTORIES = ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var"]


def chapters(*numbers: str) -> pytest.MarkDecorator:
    """Do the test in each of these chapters; it asks for the fixture `chapter`."""
    return pytest.mark.parametrize("chapter", numbers, indirect=True)


def sampled() -> pytest.MarkDecorator:
    """Do the test where the ground changes: the first chapter, the pipe, the image, the record, the last."""
    return chapters("3.1", "3.3", "4.1", "5.2", NUMBERS[-1])


def fresh(word: str = "t") -> str:
    """A name or a content that nobody can have hard-coded."""
    return f"{word}-{secrets.token_hex(5)}"


class Chapter(Stage):
    """A chapter's program.  `before` is put in front of its command line: `nsenter …`, `strace …`."""

    def __init__(self, number: str, root: Path, state: Path) -> None:
        super().__init__(number, root, state)
        self.before: list[str] = []
        self.extra: dict[str, str] = {}  # environment of the runtime
        self.begun: list[subprocess.Popen[bytes]] = []

    def knows(self, number: str) -> bool:
        """Is this the chapter `number` or a later one?"""
        return NUMBERS.index(self.number) >= NUMBERS.index(number)

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self.extra}

    def command(self, *words: str) -> list[str]:
        return [*self.before, *super().command(*words)]

    def words(self, options: list[str], command: list[str]) -> list[str]:
        """`run`, as this chapter spells it: from 5.7 on the image comes before the command."""
        return ["run", *options, *(["busybox"] if self.knows("5.7") else []), *command]

    def run(self, options: list[str], command: list[str], **how: object) -> Result:
        """Run a container in the foreground to its end."""
        return self(*self.words(options, command), **how)  # type: ignore[arg-type]

    def begin(self, options: list[str], command: list[str], **how: object) -> "subprocess.Popen[bytes]":
        """Begin a container in the foreground and go on; it is ended with the test."""
        return self.begin_verb(*self.words(options, command), **how)

    def begin_verb(self, *words: str, **how: object) -> "subprocess.Popen[bytes]":
        """Begin any verb and go on; it is ended with the test."""
        process = self.start(*words, **how)
        self.begun.append(process)
        return process

    def detach(self, command: list[str], *options: str, name: str = "", image: str = "busybox") -> int:
        """`run -d`; the pid of the container's PID 1, as the kernel's tables tell it."""
        others = containers_below(self.root)
        words = self.words(["-d", *(["--name", name] if name else []), *options], command)
        done = self(*[image if word == "busybox" else word for word in words])
        assert done.code == 0, done
        found = containers_below(self.root) - others
        assert len(found) == 1, f"one container was started, and these have their root in {self.root}: {found}"
        return found.pop()

    def detach_to_the_end(self, command: list[str], *options: str, name: str) -> None:
        """`run -d` of something short, and wait until it has ended and been reaped."""
        others = containers_below(self.root)
        done = self.run(["-d", "--name", name, *options], command)
        assert done.code == 0, done
        eventually(lambda: containers_below(self.root) <= others)
        reap()

    def view(self, name: str) -> Path:
        """Where the host sees the container's merged view."""
        return self.root / "mnt" / name if self.knows("5.7") else self.root / "mnt"

    def layer(self, name: str) -> Path:
        """The container's write layer."""
        return self.root / "writeLayer" / name if self.knows("5.7") else self.root / "writeLayer"

    def reset(self) -> None:
        """End what runs and undo it."""
        for process in self.begun:
            if process.poll() is None:
                process.terminate()  # it hands that on and reaps; whom it orphans would linger until PID 1 looks
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    with suppress(OSError):
                        stream.close()
        containers = self.root / ".zocker" / "containers"
        if containers.exists() and os.listdir(containers):
            subprocess.run([str(STAGES), "reset"], env=self.environment, check=True, capture_output=True)
        reap()


def reap() -> None:
    """Wait for the detached containers that we have adopted and that have ended."""
    for process in children(os.getpid()):
        with suppress(OSError, KeyError):
            if status(process, "State").startswith("Z") and len(status(process, "NSpid").split()) > 1:
                os.waitpid(process, os.WNOHANG)


def be_subreaper(yes: bool) -> None:
    """Be the one, instead of PID 1, who adopts orphans below.  PR_SET_CHILD_SUBREAPER in prctl(2)"""
    assert ctypes.CDLL(None, use_errno=True).prctl(36, int(yes), 0, 0, 0) == 0


@pytest.fixture(scope="package", autouse=True)
def adopts_orphans() -> Iterator[None]:
    """Adopt detached containers, as `systemd --user` does: then it is known who their parent is, and who reaps them when."""
    be_subreaper(True)
    yield
    be_subreaper(False)
    with suppress(ChildProcessError):  # the other tests are to find no children of ours
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@pytest.fixture(scope="session")
def busybox_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The busybox image, made once for all tests by the program itself."""
    directory = tmp_path_factory.mktemp("image")
    maker = Stage("4.1", directory, directory / "state")
    assert maker("run", "true").code == 0
    return directory / "busybox.tar"


@pytest.fixture(scope="session")
def warm_roots(busybox_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A root in which the image is unpacked already, the same for test after test as long as they leave it as it was."""
    roots: list[Path] = []

    def get() -> Path:
        if not roots or visible(roots[-1]) != {"busybox", "busybox.tar"}:
            roots.append(tmp_path_factory.mktemp("root"))
            shutil.copy(busybox_tar, roots[-1])
            assert Stage("4.2", roots[-1], roots[-1] / "state")("run", "true").code == 0
        return roots[-1]

    return get


@pytest.fixture
def chapter(
    request: pytest.FixtureRequest, tmp_path: Path, busybox_tar: Path, warm_roots: Callable[[], Path]
) -> Iterator[Chapter]:
    """The chapter that the test is done in, with the busybox image in its root."""
    if request.param == "4.1":  # here containers write into the image
        root = tmp_path / "root"
        root.mkdir()
        shutil.copy(busybox_tar, root)
    else:
        root = warm_roots()
    made = Chapter(request.param, root, tmp_path / "state")
    yield made
    made.before = []
    made.reset()


@pytest.fixture
def shared_world() -> Iterator[int]:
    """A mount namespace in which all mounts are shared, as on most machines: the pid of a process that holds it.

    Here mounts may be private, and then a runtime that forgets to cut the connection does no harm that could be seen.
    """
    script = "mount --make-rshared / && echo shared && read -r _"
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    keeper = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert keeper.stdout and keeper.stdout.readline() == b"shared\n"
    assert any(" shared:" in line for line in mountinfo(keeper.pid))
    yield keeper.pid
    keeper.communicate(b"\n")


class Terminal:
    """A terminal, and in front of it a shell that runs one command line and then tells how it ended."""

    ENDED = "it ended with "

    def __init__(self, chapter: Chapter, words: list[str], cwd: Path | None = None) -> None:
        self.master, self.slave = os.openpty()
        self.name = os.ttyname(self.slave)
        self.text = ""
        self.settings = termios.tcgetattr(self.master)
        self.leader = subprocess.Popen(
            ["sh", "-c", f"{shlex.join(chapter.command(*words))}; echo {self.ENDED}$?; read -r _"],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=chapter.environment,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.leader.pid, signal.SIGKILL)
        self.leader.wait()
        os.close(self.master)
        os.close(self.slave)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def shows(self, text: str) -> bool:
        """Has this been printed by now?"""
        while select.select([self.master], [], [], 0)[0]:
            self.text += os.read(self.master, 65536).decode(errors="replace")
        return text in self.text

    def await_text(self, text: str, seconds: float = 10) -> None:
        """Wait until this has been printed."""
        with suppress(pytest.fail.Exception):
            eventually(lambda: self.shows(text), seconds)
        assert text in self.text

    @property
    def foreground(self) -> int:
        """The terminal's foreground process group."""
        return os.tcgetpgrp(self.master)

    def await_end(self) -> int:
        """Wait until the command line has ended; its exit code."""
        self.await_text(self.ENDED)
        eventually(lambda: self.shows("\n") and "\n" in self.text.rpartition(self.ENDED)[2])
        return int(self.text.rpartition(self.ENDED)[2].split()[0])


def mountinfo(pid: int | str = "self") -> list[str]:
    """The kernel's table of mounts, as process `pid` has it."""
    text = os.fsdecode(Path(f"/proc/{pid}/mountinfo").read_bytes())
    return text.split("\n")[:-1]  # a path may hold what `splitlines` takes for the end of a line


def targets(pid: int | str = "self") -> list[str]:
    """Where process `pid` has mounts, in the order in which they were made."""
    return [line.split(" ")[4] for line in mountinfo(pid)]


def status(pid: int | str, key: str) -> str:
    """One line of /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return value.strip()
    raise KeyError(key)


def command_line(pid: int | str) -> list[str]:
    """The words of a process's command, exactly."""
    return [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]


def processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    found = []
    for process in processes():
        with suppress(OSError, KeyError):
            if status(process, "PPid") == str(pid):
                found.append(process)
    return found


def first_process(runtime: "subprocess.Popen[bytes]", word: str) -> int:
    """The PID 1 of the container that `runtime` runs in the foreground, once it is the command `word`."""

    def find() -> int:
        assert runtime.poll() is None, f"the runtime has ended with {runtime.returncode}"
        for child in children(runtime.pid):
            with suppress(OSError):
                if command_line(child)[:1] == [word] and status(child, "NSpid").split()[-1] == "1":
                    return child
        return 0

    return int(str(eventually(find)))


def containers_below(root: Path) -> set[int]:
    """The processes that are PID 1 of a namespace and whose / lies in `root`."""
    found = set()
    for process in processes():
        with suppress(OSError):
            numbers = status(process, "NSpid").split()
            if len(numbers) < 2 or numbers[-1] != "1":
                continue
            if any(line.split(" ")[4] == "/" and f"{root}/" in line for line in mountinfo(process)):
                found.add(process)
    return found


def is_gone(pid: int) -> bool:
    """Has this process ended and been reaped?"""
    reap()
    return not Path(f"/proc/{pid}").exists()


def group_directory(pid: int, controller: str) -> Path:
    """The directory of the control group that holds `pid` for this controller, by the kernel's own tables.  v1 or v2."""
    groups = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    for line in mountinfo():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ")
        if kind == "cgroup" and controller in options.split(","):
            return Path(before.split(" ")[4] + groups[controller])
    unified = next(line.split(" ")[4] for line in mountinfo() if " - cgroup2 " in line)
    return Path(unified + groups[""])


def limit(pid: int, controller: str, v1: str, v2: str) -> str:
    """What a limit's file says, under its name in v1 or in v2."""
    directory = group_directory(pid, controller)
    assert str(pid) in (directory / "cgroup.procs").read_text().split()
    return next((directory / name).read_text().strip() for name in (v1, v2) if (directory / name).exists())


def visible(directory: Path) -> set[str]:
    """What `ls` shows there."""
    return {name for name in os.listdir(directory) if not name.startswith(".")}


def tree(directory: Path) -> set[str]:
    """All paths below a directory, directories with a slash behind."""
    return {str(path.relative_to(directory)) + ("/" if path.is_dir() else "") for path in directory.rglob("*")}


def rows(chapter: Chapter) -> list[dict[str, str]]:
    """The table that `ps` prints, a dictionary a row.  A cell may be empty, so the header's columns count."""
    done = chapter("ps")
    assert done.code == 0, done
    header, *lines = done.lines
    names = header.split()
    starts = [header.index(name) for name in names]
    ends = [*starts[1:], None]
    return [{n: line[a:b].strip() for n, a, b in zip(names, starts, ends, strict=True)} for line in lines]


def row(chapter: Chapter, name: str) -> dict[str, str] | None:
    """The row of one container, None when there is none."""
    return next((found for found in rows(chapter) if found["NAME"] == name), None)


def until(path: str) -> str:
    """Shell words that wait until there is the file `path`."""
    return f"until [ -e {path} ]; do sleep 0.02; done"
