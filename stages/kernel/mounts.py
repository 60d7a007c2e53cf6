"""The kernel's own table of mounts.  https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html"""

import errno
import os
from _collections_abc import Iterator  # `collections.abc` would load all of `collections`, 2 ms


class Mount:
    """One line of mountinfo.  `root` is the directory of the mounted file system that is seen at `target`."""

    __slots__ = ("device", "fstype", "line", "mount_id", "parent_id", "root", "source", "super_options", "target")

    def __init__(self, line: str) -> None:
        self.line = line
        before, _, after = line.partition(" - ")
        mount_id, parent_id, self.device, root, target, *_ = before.split(" ")
        self.mount_id, self.parent_id = int(mount_id), int(parent_id)
        self.root, self.target = unescape(root), unescape(target)
        self.fstype, source, *super_options = after.split(" ")
        self.source, self.super_options = unescape(source), unescape(super_options[-1] if super_options else "")


# What would be taken for the end of a field stands there as an octal number.
_OCTAL = (("\\", "\\134"), (" ", "\\040"), ("\t", "\\011"), ("\n", "\\012"))


def unescape(text: str) -> str:
    """A field of mountinfo as the name that it stands for: `a\\040b` is `a b`."""
    if "\\" not in text:
        return text
    for character, octal in reversed(_OCTAL):
        text = text.replace(octal, character)
    return text


def escape(name: str) -> str:
    """A name as it stands in mountinfo."""
    for character, octal in _OCTAL:
        name = name.replace(character, octal)
    return name


def each(pid: int | str = "self", about: str = "") -> Iterator[Mount]:
    """The mounts that process `pid` sees, one by one in the order in which they were mounted; none when it has ended.

    With `about` only those in whose line it is: to take all lines apart takes long on a machine with a thousand containers.
    """
    wanted = os.fsencode(about)
    try:
        with open(f"/proc/{pid}/mountinfo", "rb") as file:
            # In bytes only \n ends a line: a directory's name may hold whatever else Python takes for a line's end.
            for line in file:
                if wanted in line:
                    yield Mount(os.fsdecode(line[:-1]))
    except OSError as error:  # EINVAL: it is a zombie
        if pid != "self" and error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL):
            return
        raise


def table(pid: int | str = "self", about: str = "") -> list[Mount]:
    """All of them at once."""
    return list(each(pid, about))


def at(target: str, pid: int | str = "self") -> Mount | None:
    """The mount that is seen at `target`: the topmost when several are stacked there."""
    for mount in reversed(table(pid, f" {escape(target)} ")):
        if mount.target == target:
            return mount
    return None


def below(target: str) -> list[Mount]:
    """The mounts strictly below `target`, the deepest first."""
    above = target.rstrip("/") + "/"
    inside = [mount for mount in table(about=f" {escape(above)}") if mount.target.startswith(above)]
    return sorted(inside, key=lambda mount: mount.target.count("/"), reverse=True)


def is_mount_point(path: str) -> bool:
    """True when a mount is seen at `path`: the kernel answers for the one path, however many mounts there are."""
    try:
        here = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    above = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
    try:
        return id_of(here) != id_of(above)
    finally:
        os.close(here)
        os.close(above)


def id_of(fd: int) -> int:
    """The id of the mount on which the open file `fd` is.  proc_pid_fdinfo(5)"""
    with open(f"/proc/self/fdinfo/{fd}", "rb", 0) as file:
        return int(file.readall().partition(b"mnt_id:")[2].split(None, 1)[0])


def namespace() -> str:
    """This process's mount namespace, as `mnt:[4026531841]`."""
    return os.readlink("/proc/self/ns/mnt")
