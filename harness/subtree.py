"""The control groups of a world."""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness import init
from harness.errors import WorldError
from harness.running import PATIENCE

MOST_PROCESSES = 300  # a fork bomb ends there
NAME = "zocker-world-"
PASSED_ON = ("cpu", "cpuset", "io", "memory", "pids")  # the v2 controllers that a runtime may want


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


def put(file: Path, text: str) -> None:
    """Write to a file of the kernel's, which has to be there.  Raises OSError."""
    with open(file, "r+b", buffering=0) as opened:
        opened.write(text.encode())
