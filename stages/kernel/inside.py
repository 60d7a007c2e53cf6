"""The steps that the container's own process does, between its birth and the execution of the user's command.

They need no undo: what they change is gone with the namespaces.  After the root has changed nothing is imported or looked
up here: it would be the image's code, run as root.
"""

import errno
import os

from stages.kernel import life, mounts, signals, syscalls
from stages.kernel.errors import Failure
from stages.kernel.spec import DEFAULT_PATH
from stages.kernel.step import Start, Step, quoted

# name, mode, major, minor: https://www.kernel.org/doc/html/latest/admin-guide/devices.html
DEVICES = (
    ("null", 0o666, 1, 3),
    ("zero", 0o666, 1, 5),
    ("full", 0o666, 1, 7),
    ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9),
    ("tty", 0o666, 5, 0),
)
CHROOT = (
    "this is a chroot: a container can be made only where / is the root of all mounts, so that nothing is left above it;"
    " leave the chroot, or enter it by pivot_root"
)
LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)


class Terminal(Step):
    """Pass the caller's terminal through: the container's processes become its foreground group."""

    why = (
        "Ctrl-C is to reach the container's command and not the runtime; the terminal sends it to its foreground group."
    )

    def do(self, start: Start) -> None:
        if not os.isatty(0):
            os.setsid()
            return
        os.setpgid(0, 0)
        signals.ignore(signals.SIGTTOU)  # what the kernel sends to a group that takes the terminal from the background
        os.tcsetpgrp(0, os.getpgrp())

    def shell(self) -> str:
        return ""

    def seen(self, pid: int) -> str:
        try:
            return os.readlink(f"/proc/{pid}/fd/0")
        except OSError:
            return ""


class Streams(Step):
    """No terminal: input from `stdin`, output to `output`; empty means as the caller has it."""

    why = "Without -ti the container has no terminal. A session of its own keeps the caller's terminal and its signals away."

    def __init__(self, stdin: str, output: str) -> None:
        self.stdin, self.output = stdin, output

    def do(self, start: Start) -> None:
        os.setsid()
        if self.stdin:
            fd = os.open(self.stdin, os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(fd, 0)
            os.close(fd)
        if self.output:
            fd = os.open(self.output, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
            os.close(fd)

    def shell(self) -> str:
        words = ["setsid"] + ([f"<{quoted(self.stdin)}"] if self.stdin else [])
        return " ".join(words + ([f">>{quoted(self.output)}", "2>&1"] if self.output else []))

    def seen(self, pid: int) -> str:
        try:
            return " ".join(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2))
        except OSError:
            return ""


class Namespaces(Step):
    """Put the process into new namespaces of these kinds."""

    why = (
        "A namespace is the kernel's word for a private copy of one part of the machine: uts the host name, pid the process numbers,"
        " mnt the mounts, net the network, ipc shared memory and semaphores."
    )

    def __init__(self, kinds: list[str]) -> None:
        self.kinds = kinds

    def do(self, start: Start) -> None:
        # `pid` is not among the flags: a process can't change its own, only its children's.
        # The machine asked for it before it forked this process.  https://man7.org/linux/man-pages/man7/pid_namespaces.7.html
        flags = 0
        for kind in self.kinds:
            flags |= syscalls.NAMESPACE_FLAGS[kind] if kind != "pid" else 0
        syscalls.unshare(flags)

    def shell(self) -> str:
        words = {"mnt": "mount"}
        return "unshare --fork " + " ".join(f"--{words.get(kind, kind)}" for kind in self.kinds)

    def seen(self, pid: int) -> str:
        return "\n".join(_own_namespaces(pid, self.kinds))


class JoinNamespaces(Step):
    """Join the namespaces, in this order, of the process `of` that started at tick `since`."""

    why = "What /proc/PID/ns holds stands for the namespaces of that process. Whoever joins them sees what it sees."

    def __init__(self, of: int, since: int, kinds: list[str]) -> None:
        self.of, self.since, self.kinds = of, since, kinds

    def do(self, start: Start) -> None:
        # All are opened before the first is joined: after `mnt` this is another /proc.
        for fd, kind in zip(open_namespaces(self.of, self.since, self.kinds), self.kinds, strict=True):
            syscalls.setns(fd, syscalls.NAMESPACE_FLAGS[kind])
            os.close(fd)

    def shell(self) -> str:
        words = {"mnt": "mount"}
        return f"nsenter --target {self.of} " + " ".join(f"--{words.get(kind, kind)}" for kind in self.kinds)

    def seen(self, pid: int) -> str:
        links = (f"/proc/{pid}/ns/{kind}" for kind in self.kinds)
        return "\n".join(os.readlink(link) for link in links if os.path.lexists(link))


class PrivateMounts(Step):
    """Cut the connection between the container's mounts and the host's."""

    why = (
        "On most machines mounts are shared: what is mounted here would appear on the host too, and pivot_root would say EINVAL."
        " The host's /proc stays whole because of this line."
    )

    def do(self, start: Start) -> None:
        try:
            syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        except OSError as error:
            raise Failure(CHROOT) if error.errno == errno.EINVAL else error from None

    def shell(self) -> str:
        return "mount --make-rprivate /"

    def seen(self, pid: int) -> str:
        lines = [mount.line for mount in mounts.table(pid)]
        connected = any(" shared:" in line or " master:" in line for line in lines)
        return "no line has shared: or master:" if lines and not connected else ""


class Hostname(Step):
    """Give the container a host name of its own."""

    why = (
        "The uts namespace starts as a copy of the host's: without this the container would answer to the host's name."
    )

    def __init__(self, name: str) -> None:
        self.name = name

    def do(self, start: Start) -> None:
        syscalls.sethostname(self.name)

    def shell(self) -> str:
        return f"hostname {quoted(self.name)}"

    def seen(self, pid: int) -> str:
        return "\n".join(_own_namespaces(pid, ["uts"]))


class BindRoot(Step):
    """Mount the new root onto itself, with all that is mounted in it."""

    why = "pivot_root takes only a mount point as the new root, and a plain directory is none."

    def __init__(self, rootfs: str) -> None:
        self.rootfs = rootfs

    def do(self, start: Start) -> None:
        syscalls.mount(self.rootfs, self.rootfs, "", syscalls.MS_BIND | syscalls.MS_REC)

    def shell(self) -> str:
        return f"mount --rbind {quoted(self.rootfs, self.rootfs)}"

    def seen(self, pid: int) -> str:
        return _root_line(pid)


class PivotRoot(Step):
    """Make `rootfs` the root, and take the old root away."""

    why = (
        "chroot only changes where names start, and root can climb out of it. pivot_root changes the mount table:"
        " after the umount the host's files are not hidden but gone."
    )

    def __init__(self, rootfs: str) -> None:
        self.rootfs = rootfs

    def do(self, start: Start) -> None:
        # Both names may be the same place: the old root is then stacked on the new one, and umount takes it off.
        # No directory for the old root is needed, so nothing appears in the write layer.  pivot_root(2), NOTES
        namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        os.chdir(self.rootfs)
        syscalls.pivot_root(".", ".")
        syscalls.umount(".", syscalls.MNT_DETACH)
        os.chdir("/")
        # Joining a mount namespace leads to its own root. In a chroot that is not what we have just put there: the
        # machine's files would still be above us, and `exec` would run among them.
        ours = os.stat("/")
        syscalls.setns(namespace, syscalls.CLONE_NEWNS)
        os.close(namespace)
        if not os.path.samestat(ours, os.stat("/")):
            raise Failure(CHROOT)

    def shell(self) -> str:
        return f"cd {quoted(self.rootfs)} && pivot_root . . && umount -l . && cd /"

    def seen(self, pid: int) -> str:
        return _root_line(pid)


class Proc(Step):
    """Mount /proc anew."""

    why = "/proc shows the processes of the pid namespace in which it was mounted: the old one would still show the host's."

    def do(self, start: Start) -> None:
        _make_directory("/proc", 0o555)
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)

    def shell(self) -> str:
        return "mkdir -p /proc && mount -t proc -o nosuid,nodev,noexec proc /proc"

    def seen(self, pid: int) -> str:
        return "\n".join(mount.line for mount in mounts.table(pid) if mount.target == "/proc")


class Dev(Step):
    """Mount a tmpfs on /dev."""

    why = "Devices belong to the machine and not to an image: /dev is made anew in memory for each container."

    def do(self, start: Start) -> None:
        _make_directory("/dev", 0o755)
        syscalls.mount("tmpfs", "/dev", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_STRICTATIME, "mode=755")

    def shell(self) -> str:
        return "mkdir -p /dev && mount -t tmpfs -o nosuid,strictatime,mode=755 tmpfs /dev"

    def seen(self, pid: int) -> str:
        return "\n".join(mount.line for mount in mounts.table(pid) if mount.target == "/dev")


class Devices(Step):
    """The few devices that programs take for granted, made by mknod, and /dev/shm as a plain directory."""

    why = "An empty /dev has no null: the first `2>/dev/null` would make a file of that name, or fail."

    def do(self, start: Start) -> None:
        for name, mode, major, minor in DEVICES:
            os.mknod(f"/dev/{name}", mode | 0o020000, os.makedev(major, minor))
            os.chmod(f"/dev/{name}", mode)  # whatever the caller's umask is
        for name, target in LINKS:
            os.symlink(target, f"/dev/{name}")
        os.mkdir("/dev/shm")
        os.chmod("/dev/shm", 0o1777)

    def shell(self) -> str:
        nodes = [f"mknod -m {mode:04o} /dev/{name} c {major} {minor}" for name, mode, major, minor in DEVICES]
        links = [f"ln -s {target} /dev/{name}" for name, target in LINKS]
        return "\n".join([*nodes, *links, "mkdir -m 1777 /dev/shm"])

    def seen(self, pid: int) -> str:
        try:
            return " ".join(sorted(os.listdir(f"/proc/{pid}/root/dev")))
        except OSError:
            return ""


class ReceiveCommand(Step):
    """Wait at the start pipe until the command comes through it."""

    why = (
        "The process must not run before its limits are set, so it waits for its command. Through a pipe the words arrive as they"
        " were typed, however long and odd. The end of the pipe without a command means that the runtime is gone: then we go too."
    )

    def do(self, start: Start) -> None:
        size = int.from_bytes(_read_exactly(start.go, 8), "big")
        start.words = [os.fsdecode(word) for word in _read_exactly(start.go, size).split(b"\0")[:-1]]

    def shell(self) -> str:
        return ""

    def seen(self, pid: int) -> str:
        return _command_line(pid)


class Execute(Step):
    """Become the user's command."""

    why = "execve keeps the process and its number, so the command is PID 1. Its environment is what is given here and no more."

    def __init__(self, words: list[str], environment: list[str], directory: str) -> None:
        self.words, self.environment, self.directory = words, environment, directory

    def do(self, start: Start) -> None:
        if self.directory:
            os.chdir(self.directory)
        environment = {key: value for key, _, value in (pair.partition("=") for pair in self.environment)}
        program = find_program(start.words[0], environment.get("PATH", DEFAULT_PATH))
        try:
            os.execve(program, start.words, environment)
        except OSError as error:
            raise _cannot_execute(start.words[0], program, error) from None

    def shell(self) -> str:
        directory = f"cd {quoted(self.directory)} && " if self.directory else ""
        return f"{directory}exec env -i {quoted(*self.environment, *self.words)}"

    def seen(self, pid: int) -> str:
        return _command_line(pid)


def open_namespaces(pid: int, since: int, kinds: list[str]) -> list[int]:
    """Descriptors of the namespaces of the process `pid` that started at tick `since`.

    Raises Failure when that process has ended: its number may stand for another one now, whose namespaces are not meant.
    """
    try:
        opened = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
    except FileNotFoundError:
        opened = []
    if not opened or life.start_time(pid) != since:
        raise Failure("the container ended just now")
    return opened


def pack_words(words: list[str]) -> bytes:
    """A command as it travels through the start pipe: its length in 8 bytes, then each word with a NUL behind it.

    NUL is the one byte that no word can hold.
    """
    text = b"".join(os.fsencode(word) + b"\0" for word in words)
    return len(text).to_bytes(8, "big") + text


def find_program(name: str, path: str) -> str:
    """The file that the command's name means, found by our own walk: os.execvp would import a module on its way.

    Raises Failure, 127 when there is none and 126 when there is one that can't be executed.
    """
    if "/" in name:
        return name
    found = ""
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            found = found or candidate
    if found:
        raise Failure(f"{name}: {found} is not executable: see `ls -l` (chmod +x?)", 126)
    raise Failure(f"{name}: not found in the container: its PATH is {path}", 127)


def _cannot_execute(name: str, program: str, error: OSError) -> Failure:
    if error.errno == errno.ENOENT and os.path.exists(program):
        return Failure(f"{name}: {program} is there, but the interpreter or loader that it names is not", 127)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Failure(f"{name}: not found in the container", 127)
    if error.errno == errno.ENOEXEC:
        return Failure(f"{name}: {program} is no program for this machine, and has no #! line", 126)
    if error.errno == errno.E2BIG:
        return Failure(f"{name}: the command is longer than the kernel takes: {error.strerror}", 126)
    reason = "it is a directory" if os.path.isdir(program) else error.strerror
    return Failure(f"{name}: can't execute {program}: {reason}", 126)


def _read_exactly(fd: int, size: int) -> bytes:
    pieces = b""
    while len(pieces) < size:
        piece = os.read(fd, min(size - len(pieces), 1 << 20))
        if not piece:
            os._exit(125)  # the runtime is gone, and with it whoever could be told
        pieces += piece
    return pieces


def _make_directory(path: str, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        pass


def _own_namespaces(pid: int, kinds: list[str]) -> list[str]:
    """The links of those namespaces in which `pid` differs from us."""
    lines: list[str] = []
    if not mounts.table(pid):
        return lines  # it has ended; a zombie would still show some
    for kind in kinds:
        try:
            theirs = os.readlink(f"/proc/{pid}/ns/{kind}")
        except OSError:
            continue
        if theirs != os.readlink(f"/proc/self/ns/{kind}"):
            lines.append(theirs)
    return lines


def _root_line(pid: int) -> str:
    mount = mounts.at("/", pid)
    here = mounts.at("/")
    return mount.line if mount and (here is None or mount.line != here.line) else ""


def _command_line(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
