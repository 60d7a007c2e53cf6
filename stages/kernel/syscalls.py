"""The system calls that Python 3.11's `os` lacks.

Each wrapper raises `SystemCallFailed`, whose text reads like the call: ``pivot_root(".", "."): Invalid argument``.
`_ctypes` is used without its dear front `ctypes` (3 ms): a container should start faster than that import.
"""

import errno
import os
import sys
from _ctypes import (
    FUNCFLAG_CDECL,
    FUNCFLAG_PYTHONAPI,
    FUNCFLAG_USE_ERRNO,
    CFuncPtr,
    _SimpleCData,
    dlopen,
    dlsym,
    get_errno,
)

# unshare(2), setns(2): https://man7.org/linux/man-pages/man7/namespaces.7.html
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

NAMESPACE_FLAGS = {
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "net": CLONE_NEWNET,
    "pid": CLONE_NEWPID,
    "mnt": CLONE_NEWNS,
}

# clone3(2): https://man7.org/linux/man-pages/man2/clone.2.html
CLONE_INTO_CGROUP = 0x200000000

# mount(2), umount2(2): https://man7.org/linux/man-pages/man2/mount.2.html
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_STRICTATIME = 0x1000000
MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

# openat2(2): https://man7.org/linux/man-pages/man2/openat2.2.html
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

AT_FDCWD = -100
LONGEST_WORD = 300  # of a call, in an error's sentence
RENAME_EXCHANGE = 0x2
PR_SET_PDEATHSIG = 1
SIGCHLD = 17

# Numbers that are the same on every architecture that Linux gained since 2011, and on x86-64.
_PIVOT_ROOT = {"x86_64": 155, "i686": 217, "armv7l": 218, "ppc64le": 203, "s390x": 217}
_PIVOT_ROOT_ELSEWHERE = 41  # asm-generic: aarch64, riscv64, loongarch64
_CLONE3, _OPENAT2 = 435, 437  # on every architecture


class SystemCallFailed(OSError):
    """A system call said no.  `call` is the call as it was made, `errno` and `strerror` what came back."""

    def __init__(self, number: int, call: str) -> None:
        super().__init__(number, os.strerror(number))
        self.call = call

    def __str__(self) -> str:
        return f"{self.call}: {self.strerror}"


class _Int(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Long(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _UnsignedLong(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "L"


class _Text(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


class _ReturnsInt(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = _Int


class _ReturnsLong(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = _Long


class _OfPython(CFuncPtr):
    """What is called with Python's lock held: no other thread of Python's runs meanwhile."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO | FUNCFLAG_PYTHONAPI
    _restype_ = _Long


_libc = dlopen(None, 0)  # type: ignore[arg-type]


def _function(name: str, *argument_types: type) -> CFuncPtr:
    function = _ReturnsInt(dlsym(_libc, name))
    function.argtypes = argument_types
    return function


_unshare = _function("unshare", _Int)
_setns = _function("setns", _Int, _Int)
_mount = _function("mount", _Text, _Text, _Text, _UnsignedLong, _Text)
_umount2 = _function("umount2", _Text, _Int)
_sethostname = _function("sethostname", _Text, _UnsignedLong)
_prctl = _function("prctl", _Int, _UnsignedLong, _UnsignedLong, _UnsignedLong, _UnsignedLong)
_syscall = _ReturnsLong(dlsym(_libc, "syscall"))


def _checked(result: int, name: str, *arguments: object) -> int:
    if result < 0:
        words = ", ".join(f'"{_shortened(a)}"' if isinstance(a, str) else str(a) for a in arguments)
        raise SystemCallFailed(get_errno(), f"{name}({words})")
    return result


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_WORD else f"{text[:LONGEST_WORD]}..."


def _flag_words(flags: int, names: dict[int, str]) -> str:
    return "|".join(name for flag, name in names.items() if flags & flag) or "0"


_NAMESPACE_WORDS = {
    flag: f"CLONE_NEW{'NS' if kind == 'mnt' else kind.upper()}" for kind, flag in NAMESPACE_FLAGS.items()
}
_MOUNT_WORDS = {
    MS_RDONLY: "MS_RDONLY",
    MS_NOSUID: "MS_NOSUID",
    MS_NODEV: "MS_NODEV",
    MS_NOEXEC: "MS_NOEXEC",
    MS_BIND: "MS_BIND",
    MS_REC: "MS_REC",
    MS_PRIVATE: "MS_PRIVATE",
    MS_STRICTATIME: "MS_STRICTATIME",
}


def unshare(flags: int) -> None:
    """Put this process (for pid: its next child) into new namespaces.  unshare(2)"""
    _checked(_unshare(flags), "unshare", _flag_words(flags, _NAMESPACE_WORDS))


def setns(fd: int, flags: int) -> None:
    """Put this process (for pid: its next child) into the namespace that `fd` stands for.  setns(2)"""
    _checked(_setns(fd, flags), "setns", fd, _flag_words(flags, _NAMESPACE_WORDS))


def fork_into(group: int) -> int:
    """os.fork() into the cgroup (of v2) whose directory `group` is open: the child is born there.  clone3(2)

    Without a stack of its own the child of clone3 goes on where its parent is, as with fork.  Raises SystemCallFailed.
    """
    # struct clone_args: flags, three addresses, exit_signal, five that are not used, and the group
    numbers = (CLONE_INTO_CGROUP, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, group)
    arguments = b"".join(number.to_bytes(8, sys.byteorder) for number in numbers)
    clone3 = _OfPython(dlsym(_libc, "syscall"))
    before, in_child, in_parent = (
        _OfPython(dlsym(_libc, f"PyOS_{name}")) for name in ("BeforeFork", "AfterFork_Child", "AfterFork_Parent")
    )
    before()  # Python wants to be told, whoever forks: https://docs.python.org/3/c-api/sys.html#c.PyOS_BeforeFork
    pid = clone3(_Long(_CLONE3), _Text(arguments), _UnsignedLong(len(arguments)))
    if pid == 0:
        in_child()
        return 0
    number = get_errno()
    in_parent()
    if pid < 0:
        raise SystemCallFailed(number, f'clone3("CLONE_INTO_CGROUP", {group})')
    return int(pid)


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """Mount; `flags` are MS_* bits, `data` the file system's own options.  mount(2)"""
    result = _mount(os.fsencode(source), os.fsencode(target), fstype.encode(), flags, os.fsencode(data))
    _checked(result, "mount", source, target, fstype, _flag_words(flags, _MOUNT_WORDS), data)


def umount(target: str, flags: int = 0) -> None:
    """Unmount `target`; a busy one is left as it is (EBUSY) unless MNT_DETACH is given.  umount2(2)"""
    words = _flag_words(flags, {MNT_DETACH: "MNT_DETACH", UMOUNT_NOFOLLOW: "UMOUNT_NOFOLLOW"})
    _checked(_umount2(os.fsencode(target), flags), "umount2", target, words)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root of this mount namespace, and hang the old one at `put_old`.  pivot_root(2)"""
    number = _PIVOT_ROOT.get(os.uname().machine, _PIVOT_ROOT_ELSEWHERE)
    result = _syscall(_Long(number), _Text(os.fsencode(new_root)), _Text(os.fsencode(put_old)))
    _checked(result, "pivot_root", new_root, put_old)


def exchange(one: str, other: str) -> None:
    """Let two paths change places in one moment: nobody sees either of them missing.  RENAME_EXCHANGE in renameat2(2)"""
    renameat2 = _function("renameat2", _Int, _Text, _Int, _Text, _Int)
    result = renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    _checked(result, "renameat2", "AT_FDCWD", one, "AT_FDCWD", other, "RENAME_EXCHANGE")


def sethostname(name: str) -> None:
    """Set the host name of this process's uts namespace.  sethostname(2)"""
    raw = os.fsencode(name)
    _checked(_sethostname(raw, len(raw)), "sethostname", name)


def die_with_parent(signal: int) -> None:
    """Ask for `signal` when the parent ends, however it ends.  PR_SET_PDEATHSIG in prctl(2)"""
    _checked(_prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl", "PR_SET_PDEATHSIG", signal)


def openat2(dir_fd: int, path: str | bytes, flags: int, resolve: int) -> int:
    """Open `path` below `dir_fd` with limits on how it may be resolved, and return a descriptor.

    `resolve` is made of RESOLVE_* bits.  The descriptor is close-on-exec.  openat2(2)
    """
    how = b"".join(word.to_bytes(8, sys.byteorder) for word in (flags | os.O_CLOEXEC, 0, resolve))
    number, size = _Long(_OPENAT2), _UnsignedLong(len(how))
    while True:
        result = _syscall(number, _Long(dir_fd), _Text(os.fsencode(path)), _Text(how), size)
        # EAGAIN: something was renamed or mounted meanwhile, and the kernel could not be sure. It asks to try again.
        if result >= 0 or get_errno() != errno.EAGAIN:
            return _checked(result, "openat2", dir_fd, os.fsdecode(path), flags, resolve)
