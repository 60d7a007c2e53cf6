"""The kernel's own table of mounts.  https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html"""

import errno
import os


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


def unescape(text: str) -> str:
    """Blanks, tabs, newlines and backslashes stand in mountinfo as octal numbers: `\\040`."""
    if "\\" not in text:
        return text
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, character)
    return text


def table(pid: int | str = "self") -> list[Mount]:
    """All mounts that process `pid` sees, in the order in which they were mounted; none when it has ended."""
    try:
        with open(f"/proc/{pid}/mountinfo", "rb") as file:
            # Only \n ends a line: a directory's name may hold whatever else Python takes for a line's end.
            return [Mount(os.fsdecode(line)) for line in file.read().split(b"\n")[:-1]]
    except OSError as error:  # EINVAL: it is a zombie
        if pid != "self" and error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL):
            return []
        raise


def at(target: str, pid: int | str = "self") -> Mount | None:
    """The mount that is seen at `target`: the topmost when several are stacked there."""
    for mount in reversed(table(pid)):
        if mount.target == target:
            return mount
    return None


def below(target: str) -> list[Mount]:
    """The mounts strictly below `target`, the deepest first."""
    inside = [mount for mount in table() if mount.target.startswith(target.rstrip("/") + "/")]
    return sorted(inside, key=lambda mount: mount.target.count("/"), reverse=True)


def id_of(fd: int) -> int:
    """The id of the mount on which the open file `fd` is.  proc_pid_fdinfo(5)"""
    with open(f"/proc/self/fdinfo/{fd}") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))


def namespace() -> str:
    """This process's mount namespace, as `mnt:[4026531841]`."""
    return os.readlink("/proc/self/ns/mnt")
