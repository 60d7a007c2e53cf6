"""A checkout of the tests' own, and Vagrant as a person calls it, with a guest that boots in a few seconds.

Where Vagrant or qemu is missing these tests are skipped. Where they are there and the guest can't be made, they are
skipped too; in CI that is a failure.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = {
    "vagrant": "vagrant",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ssh": "openssh-client",
}


@pytest.fixture(scope="session")
def vagrant_and_qemu() -> None:
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        pytest.skip(f"the virtual machine's tests need: sudo apt-get install {' '.join(missing)}")


@pytest.fixture(scope="session")
def tiny_box(vagrant_and_qemu: None) -> Path:
    """A box that boots in a few seconds."""
    tiny = load_tiny()
    try:
        return Path(tiny.box())
    except tiny.CannotMake as why:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(why))


def load_tiny() -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("tiny.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Result:
    """How a command ended: its exit code and what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def said(self) -> str:
        """Both streams, with the line breaks that Vagrant makes in long lines taken out."""
        return re.sub(r"\s+(==> \w+: |    \w+: )?", " ", f"{self.out} {self.err}")

    def __repr__(self) -> str:
        return f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


class Vagrant:
    """Vagrant in a checkout; ``prefix`` runs before it, as setpriv does."""

    def __init__(self, checkout: Path, home: Path, prefix: tuple[str, ...] = ()) -> None:
        self.checkout, self.prefix = checkout, prefix
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("STAGES_", "VAGRANT"))},
            "HOME": str(home),
            "VAGRANT_HOME": str(home / "vagrant.d"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "STAGES_MEMORY": "160",
        }

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self.prefix, "vagrant", *words],
            cwd=self.checkout,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *words: str, **environment: str) -> Result:
        process = self.start(*words, **environment)
        try:
            out, err = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Result(process.returncode, out, err)

    def ssh(self, command: str) -> Result:
        """By the machine's own port: Vagrant takes a second to start, and how it calls ssh is tested once."""
        key = self.checkout.parent / "key"
        if not key.exists():
            shutil.copy(next(Path("/usr/share/rubygems-integration/all/gems").glob("vagrant-2*/keys/vagrant")), key)
            key.chmod(0o600)
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        address = ["-p", str(self.record["port"]), "-i", str(key), "vagrant@127.0.0.1"]
        done = subprocess.run(["ssh", *options, *address, command], capture_output=True, text=True, timeout=60)
        return Result(done.returncode, done.stdout, done.stderr)

    @property
    def directory(self) -> Path:
        return self.checkout / ".vagrant" / "machines" / "default" / "slirp"

    @property
    def record(self) -> dict[str, object]:
        return dict(json.loads((self.directory / "machine.json").read_text()))

    @property
    def state(self) -> str:
        """As `vagrant status` says for programs."""
        found = re.search(r",default,state,(\w+)", self("status", "default", "--machine-readable").out)
        return found[1] if found else "unknown"

    @property
    def qemu(self) -> list[int]:
        """The processes of this checkout's machines: they were started in its directory, and hold its disk open."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if holds(pid, str(self.checkout))]

    @property
    def console(self) -> str:
        """What the guest has said so far."""
        path = self.directory / "console.log"
        return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""

    @property
    def snapshots(self) -> list[str]:
        """As qemu knows them."""
        command = ["qemu-img", "info", "-U", "--output=json", str(self.directory / "disk.qcow2")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [snapshot["name"] for snapshot in json.loads(done.stdout).get("snapshots", [])]

    def hold(self, lock: Path) -> "subprocess.Popen[bytes]":
        """A process that has the lock, and has said who it is, as the provider does."""
        script = (
            "import fcntl, os, sys; file = open(sys.argv[1], 'r+'); fcntl.flock(file, fcntl.LOCK_EX); file.truncate()"
        )
        script += "; file.write(str(os.getpid())); file.flush(); print(flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", script, str(lock)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        return process

    def kill_all(self) -> None:
        for pid in self.qemu:
            os.kill(pid, signal.SIGKILL)


def holds(pid: int, directory: str) -> bool:
    """Is this a qemu that has a file open below the directory?"""
    try:
        if not Path(f"/proc/{pid}/comm").read_text().startswith("qemu-system"):
            return False
        return any(os.readlink(entry.path).startswith(directory) for entry in os.scandir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def monitor(directory: Path, command: str) -> None:
    """Tell qemu something by its socket, whose path is too long to be called by."""
    opened = os.open(directory, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as qmp:
        qmp.connect(f"/proc/self/fd/{opened}/qmp.sock")
        lines = qmp.makefile("rw")
        for message in ("qmp_capabilities", command):
            lines.write(json.dumps({"execute": message}) + "\n")
            lines.flush()
        replies = 0
        while replies < 2:
            replies += "return" in json.loads(lines.readline())
    os.close(opened)


BUILDER = """#!/bin/sh
# What the provider knows of the real one: --path names the box, and without it the box is there afterwards.
box="$HOME/${RECIPE-recipe}.box"
[ "$*" = --path ] || [ -e "$box" ] || { echo "building the box" >&2; cp "$HOME/tiny.box" "$box.new"; mv "$box.new" "$box"; }
echo "$box"
"""


@pytest.fixture(scope="session")
def make_checkout(tiny_box: Path) -> Callable[..., Vagrant]:
    """Makes a checkout with the project's Vagrantfile and provider in it, and as its box the one that boots soon."""

    def make(directory: Path, home: Path, prefix: tuple[str, ...] = ()) -> Vagrant:
        checkout = directory / "a checkout, of mine"
        (checkout / "harness").mkdir(parents=True)
        shutil.copy(CHECKOUT / "Vagrantfile", checkout)
        shutil.copytree(CHECKOUT / "harness" / "vagrant", checkout / "harness" / "vagrant")
        builder = checkout / "harness" / "vagrant" / "build_box"
        builder.write_text(BUILDER)
        builder.chmod(0o755)
        home.mkdir(exist_ok=True)
        shutil.copy(tiny_box, home / "tiny.box")
        return Vagrant(checkout, home, prefix)

    return make


@pytest.fixture(scope="module")
def vagrant(make_checkout: Callable[..., Vagrant], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vagrant]:
    """One checkout for a file's tests, which tell a story: each finds the machine as the one before left it."""
    directory = tmp_path_factory.mktemp("vm")
    vagrant = make_checkout(directory, directory / "home")
    yield vagrant
    vagrant.kill_all()


@pytest.fixture
def repack(tiny_box: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes another box, by a line of shell that gets the paths of the old one and of the new."""

    def make(script: str) -> Path:
        work, path = tmp_path / "unpacked", tmp_path / "another.box"
        work.mkdir()
        subprocess.run(["sh", "-ec", script, "sh", tiny_box, path], cwd=work, check=True, capture_output=True)
        return path

    return make
