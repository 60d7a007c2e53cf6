"""What an error of the kernel means here, and the way out.

An errno is a number for a hundred reasons. Of each call only a few of them can be met in a container runtime; those are told.
Imported only when something has failed, and never by the container's own process: its root may be an image's by then.
"""

import errno
import os
import re

ROOT = (
    "making a container needs CAP_SYS_ADMIN in the machine's own user namespace: be root (`sudo`), and not inside a container or"
    " `unshare --user`, where root is only a name"
)
EVERYWHERE = "*"

# (call, errno): (what has to be among its arguments, what it means and what to do).  The man page of each call has a section ERRORS.
MEANINGS: dict[tuple[str, int], list[tuple[str, str]]] = {
    ("pivot_root", errno.EINVAL): [
        (
            "",
            "the new root is no mount point, or a mount above it is still shared with others (`shared:` in /proc/self/mountinfo), or"
            " / itself is the first file system that the machine started with: bind the new root onto itself, and make all mounts"
            " private first (`mount --make-rprivate /`)",
        )
    ],
    ("pivot_root", errno.EBUSY): [("", "the new root is the current root already: nothing was mounted on it")],
    ("pivot_root", errno.EPERM): [("", ROOT)],
    ("mount", errno.EBUSY): [
        (
            '"overlay"',
            "another mount has this write layer or its work directory already, and two may not write to one: see"
            " `grep upperdir /proc/self/mountinfo`",
        ),
        ("", "something is mounted there already, or it is in use: see `findmnt` and `fuser -vm`"),
    ],
    ("mount", errno.EINVAL): [
        (
            '"overlay"',
            "overlay can't write to this file system. It can't be an overlay itself (as / is inside Docker), nor NFS or FAT: let"
            " ZOCKER_ROOT name a directory on ext4, xfs, btrfs or a tmpfs; the kernel's own words are in `dmesg | tail`",
        )
    ],
    ("mount", errno.ENODEV): [
        (
            "",
            "this kernel has no file system of that type: see /proc/filesystems, and try `modprobe` with its name (aufs is in no"
            " mainline kernel; overlay does the same)",
        )
    ],
    ("mount", errno.ENOSPC): [("", "this mount namespace is full: see /proc/sys/fs/mount-max")],
    ("mount", errno.EPERM): [("", ROOT)],
    ("mount", errno.EACCES): [("", ROOT)],
    ("umount2", errno.EPERM): [("", ROOT)],
    ("unshare", errno.EPERM): [("", ROOT)],
    ("unshare", errno.ENOSPC): [
        ("", "there are as many namespaces as the machine allows: see /proc/sys/user/max_*_namespaces")
    ],
    ("unshare", errno.EINVAL): [("", "this kernel was built without one of these namespaces: see /proc/self/ns")],
    ("setns", errno.EPERM): [("", ROOT)],
    ("sethostname", errno.EPERM): [("", ROOT)],
    ("openat2", errno.ENOSYS): [
        ("", "this kernel is older than 5.6, and a volume can't be mounted safely without that call")
    ],
    ("write", errno.ENOSPC): [
        (
            "cgroup.procs",
            "a v1 cpuset takes no process while its cpuset.cpus or cpuset.mems is empty, and both are empty at first: write both, at"
            " every level from the top",
        ),
        ("", "the disk is full, or a limit of the kernel's is reached: see `df` and `df -i`"),
    ],
    ("write", errno.EBUSY): [
        (
            "subtree_control",
            "on v2 a group that has processes of its own can't pass controllers on to groups below it: see its cgroup.procs",
        ),
        ("", "the group is in use: see its cgroup.procs and the groups below it"),
    ],
    ("write", errno.EINVAL): [
        (
            "cgroup.procs",
            "the kernel does not let this process into this group: on v2 see its cgroup.type and cgroup.subtree_control",
        ),
        ("cpuset", "the CPUs or memory nodes are not among those of the group above: see cpuset.cpus there"),
        ("", "the kernel does not take this value in this file"),
    ],
    ("write", errno.ENOENT): [
        ("subtree_control", "this controller is not to be had here: see cgroup.controllers in the same directory"),
        ("", "this controller has no such file on this machine: see /proc/cgroups"),
    ],
    ("write", errno.EACCES): [
        ("", "control groups belong to root, or /sys/fs/cgroup is mounted read-only, as inside a container")
    ],
    (EVERYWHERE, errno.ENOSPC): [("", "the disk is full: see `df` and `df -i`; nothing of the container is left")],
    (EVERYWHERE, errno.EROFS): [
        ("", "this file system is mounted read-only: let ZOCKER_ROOT and ZOCKER_STATE name places elsewhere")
    ],
    (EVERYWHERE, errno.EPERM): [("", ROOT)],
    (EVERYWHERE, errno.EMFILE): [("", "too many files are open: see `ulimit -n`")],
    (EVERYWHERE, errno.ENAMETOOLONG): [("", "a name has at most 255 bytes, a path 4096")],
}
NUMBERS = {os.strerror(number): number for number in errno.errorcode}


def taught(sentence: str) -> str:
    """The sentence of an error with what it means behind it, where that is known and not said yet.

    `sentence` ends as the errors of `syscalls` do, `call(arguments): Strerror`, or as those of files, `path: Strerror`.
    """
    before, _, words = sentence.rpartition(": ")
    number = NUMBERS.get(words)
    if number is None:
        return sentence
    call = re.search(r"(?:^|: )(\w+)\((.*)\)$", before, re.DOTALL)
    name, arguments = call.groups() if call else (EVERYWHERE, before)
    for key in ((name, number), (EVERYWHERE, number)):
        for needed, meaning in MEANINGS.get(key, []):
            if needed in arguments:
                return f"{sentence}: {meaning}"
    return sentence
