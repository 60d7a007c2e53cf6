"""The kernel's tables about processes of a world, as the checks read them.  All pids are the world's."""

import fcntl
import os
import sys
import termios
from contextlib import suppress
from pathlib import Path

from harness import init
from harness.processes import NAMESPACES, status
from harness.world import World

GONE = "gone"
KINDS = tuple(sorted(NAMESPACES))


def field(world: World, pid: int, key: str) -> str:
    """A line of /proc/PID/status; empty when there is none, or no such process."""
    try:
        return status(world.proc(pid)).get(key, "")
    except OSError:
        return ""


def namespaces(world: World, pid: int) -> dict[str, str]:
    """The five namespaces of a process, as the kernel names them; those that can't be read are missing."""
    found = {}
    for kind in KINDS:
        with suppress(OSError):
            found[kind] = os.readlink(world.proc(pid) / "ns" / kind)
    return found


def command_line(world: World, pid: int) -> list[str]:
    """The words of a process's command; none when it is gone."""
    with suppress(OSError):
        return [os.fsdecode(word) for word in (world.proc(pid) / "cmdline").read_bytes().split(b"\0")[:-1]]
    return []


def environment(world: World, pid: int) -> set[str]:
    """What the kernel shows of a process's environment."""
    with suppress(OSError):
        return {os.fsdecode(pair) for pair in (world.proc(pid) / "environ").read_bytes().split(b"\0")[:-1]}
    return set()


def descriptors(world: World, pid: int) -> dict[int, str]:
    """The open descriptors of a process, and what each leads to."""
    found = {}
    with suppress(OSError):
        for number in os.listdir(world.proc(pid) / "fd"):
            found[int(number)] = os.readlink(world.proc(pid) / "fd" / number)
    return found


def exists(world: World, pid: int) -> bool:
    """Is there such a process, or its remains that nobody has reaped?"""
    return world.proc(pid).exists()


def state(world: World, pid: int) -> str:
    """What the kernel says that a process does, `S (sleeping)` or `Z (zombie)`; GONE when it has been reaped."""
    return field(world, pid, "State") or GONE


def mounts(world: World, pid: int | None = None) -> list[tuple[str, str]]:
    """Where, and which type of file system, in the order in which they were mounted; none when the process is gone."""
    with suppress(OSError):
        return [(line.split(" ")[4], line.partition(" - ")[2].split(" ")[0]) for line in world.mountinfo(pid)]
    return []


def mounted(world: World, place: str, pid: int | None = None) -> list[str]:
    """The lines of mountinfo that are about this place."""
    return [line for line in world.mountinfo(pid) if line.split(" ")[4] == place]


def targets(world: World, pid: int | None = None) -> list[str]:
    """Where there are mounts."""
    return [target for target, _ in mounts(world, pid)]


def machine_targets() -> set[str]:
    """Where the machine has mounts.

    A world begins with a copy of them. When the machine's own work takes one away with its directory, the kernel takes it
    out of the world as well: that is not the doing of whoever runs there.
    """
    return {line.split(" ")[4] for line in os.fsdecode(Path("/proc/self/mountinfo").read_bytes()).split("\n")[:-1]}


def groups(world: World, pid: int) -> dict[str, str]:
    """The cgroup path of a process by controller, empty for v2, as the machine names it."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in (world.proc(pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            found.update(dict.fromkeys(controllers.split(","), path))
    return found


def group(world: World, pid: int, controller: str) -> Path | None:
    """The cgroup directory of a process for this controller, v1 or v2; None when the process is gone."""
    paths = groups(world, pid)
    for wanted in (controller, ""):
        for target, controllers in init.cgroup_mounts():
            if wanted in controllers.split(",") and wanted in paths:
                return Path(target + paths[wanted])
    return None


def limit(world: World, pid: int, controller: str, v1: str, v2: str) -> str:
    """What a limit's file says, under its name in v1 or in v2; empty when there is none."""
    directory = group(world, pid, controller)
    for name in (v1, v2) if directory else ():
        with suppress(OSError):
            return Path(str(directory), name).read_text().strip()
    return ""


def members(directory: Path, world: World) -> set[int]:
    """The processes in a cgroup, as the world numbers them."""
    found = set()
    with suppress(OSError):
        inside = {world.host_pid(p.pid): p.pid for p in world.processes() if p.state != "Z"}
        found = {inside.get(int(pid), 0) for pid in (directory / "cgroup.procs").read_text().split()} - {0}
    return found


def in_a_pipe(world: World, pid: int) -> int:
    """How many bytes wait in that one of the process's pipes in which most of them wait."""
    most = 0
    with suppress(OSError):
        for descriptor in os.listdir(world.proc(pid) / "fd"):
            with suppress(OSError):
                file = world.proc(pid) / "fd" / descriptor
                if os.readlink(file).startswith("pipe:"):
                    opened = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
                    most = max(most, int.from_bytes(fcntl.ioctl(opened, termios.FIONREAD, bytes(4)), sys.byteorder))
                    os.close(opened)
    return most


def visible(directory: Path) -> set[str]:
    """What `ls` shows there; nothing when there is no such directory."""
    with suppress(OSError):
        return {name for name in os.listdir(directory) if not name.startswith(".")}
    return set()


def tree(directory: Path) -> set[str]:
    """All paths below a directory, directories with a slash behind; without what AUFS keeps for itself."""
    return {
        f"{path.relative_to(directory)}{'/' if path.is_dir() and not path.is_symlink() else ''}"
        for path in directory.rglob("*")
        if not path.relative_to(directory).parts[0].startswith(".wh..wh.")
    }


def content(file: Path) -> str:
    """What a file holds; empty when there is no such file."""
    with suppress(OSError):
        return file.read_text(errors="surrogateescape")
    return ""
