"""PID 1 of a world: makes the world ready, reaps every orphan, starts a command when the harness asks for one.

The harness starts it as the first process of a pid namespace, with a socket as standard input: see `world.start_init`.
It imports little, so that a world is there at once, and nothing after its mounts are made: its own library may be hidden then.
When the harness is gone, it ends, and the kernel ends with it all that runs in the world.

https://man7.org/linux/man-pages/man7/pid_namespaces.7.html
"""

import _signal  # type: ignore[import-not-found]  # neither `signal` nor `socket`: they import `enum`, 4 ms
import _socket
import ctypes
import fcntl
import os
import select
import sys
import termios

SYS = "/sys"
CGROUPS = "/sys/fs/cgroup"
LEAF = "commands"  # the v2 group that holds all processes of the world: see `make_sys`

# What each message to the socket is.
GO = b"go"  # init is in its cgroups now
RUN = b"run"  # start a command; descriptors come with it
KILL = b"kill"  # end everything but init

# mount(2), umount2(2), unshare(2)
MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x2, 0x4, 0x8
MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x1000, 0x4000, 0x40000, 0x100000
MNT_DETACH = 0x2
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWNET = 0x00020000, 0x02000000, 0x40000000
# netdevice(7)
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1

# Bounded: what a subject writes there is the machine's memory.
TMPFS = "size=2g,nr_inodes=400k"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def checked(result: int, call: str) -> None:
    """Raise OSError, in the words of the call, when a system call said no."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """mount(2).  Raises OSError."""
    result = _libc.mount(source.encode(), target.encode(), fstype.encode(), flags, data.encode())
    checked(result, f"mount {fstype} {target}")


def umount(target: str) -> None:
    """Take `target` and all below it out of this mount namespace, busy or not.  umount2(2).  Raises OSError."""
    checked(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def cgroup_mounts() -> "list[tuple[str, str]]":
    """The machine's cgroup file systems: where each is mounted and its v1 controllers, comma-separated; empty for v2."""
    with open("/proc/self/cgroup") as file:
        known = {controller for line in file for controller in line.split(":")[1].split(",")}
    found: dict[str, str] = {}
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            target, (fstype, _, options) = before.split(" ")[4], after.split()
            if f"{target}/".startswith(f"{CGROUPS}/"):
                if fstype == "cgroup2":
                    found[""] = target
                elif fstype == "cgroup":
                    found[",".join(option for option in options.split(",") if option in known)] = target
    return [(target, controllers) for controllers, target in found.items()]


def make_network() -> None:
    """A network namespace in which there is only lo, and lo is up."""
    checked(_libc.unshare(CLONE_NEWNET), "unshare net")
    asked = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)  # any socket will do
    request = b"lo".ljust(16, b"\0") + IFF_UP.to_bytes(2, sys.byteorder)
    fcntl.ioctl(asked.fileno(), SIOCSIFFLAGS, request.ljust(40, b"\0"))  # as long as its struct
    asked.close()


def forget_mounts_below(place: str, needed: "tuple[str, ...]") -> None:
    """Take out of this mount namespace what others have mounted there and take away at any moment, such as tests and tools do.

    Not what holds one of the paths that are `needed`.
    """
    with open("/proc/self/mountinfo", "rb") as file:
        targets = [line.split(b" ")[4].decode("unicode_escape") for line in file]  # a blank is \040 there
    for target in targets:
        if target.startswith(place) and not any(path.startswith(f"{target}/") for path in needed):
            _libc.umount2(target.encode("latin-1"), MNT_DETACH)  # one below another is gone already


def make_mounts(kept: "list[str]") -> None:
    """A mount namespace with a /proc for this pid namespace, and with /root, /var and /run in memory.

    Overlay layers work on a tmpfs; they would not if the machine's own root is an overlay, as in Docker.
    The directories `kept` stay the machine's own, also where they would be hidden.
    """
    checked(_libc.unshare(CLONE_NEWNS), "unshare mnt")
    opened = [(directory, os.open(directory, os.O_PATH)) for directory in kept]
    mount("none", "/", "none", MS_REC | MS_PRIVATE)  # from here on nothing reaches the machine's own table of mounts
    forget_mounts_below("/tmp/", (__file__, sys.prefix, *kept))
    umount("/proc")
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", "/root", "tmpfs", MS_NODEV, f"mode=0700,{TMPFS}")
    mount("tmpfs", "/var", "tmpfs", MS_NODEV, f"mode=0755,{TMPFS}")
    for name in ("tmp", "lib"):
        os.mkdir(f"/var/{name}")
    os.chmod("/var/tmp", 0o1777)
    mount("tmpfs", "/run", "tmpfs", MS_NODEV, f"mode=0755,{TMPFS}")
    os.mkdir("/run/mount")  # this and the next: what mount(8) and iptables(8) make on any machine, whoever calls them
    os.close(os.open("/run/xtables.lock", os.O_CREAT, 0o600))
    os.symlink("../run", "/var/run")  # relative, so that it leads nowhere else when the harness follows it from outside
    for directory, descriptor in opened:
        if not os.path.exists(directory):
            os.makedirs(directory)
            mount(f"/proc/self/fd/{descriptor}", directory, "none", MS_BIND)
        os.close(descriptor)


def make_sys() -> None:
    """A /sys that shows the network of the world, and the groups that we are in as the roots of all hierarchies.

    What else the machine has mounted below /sys, such as debugfs, is left out: it is the whole machine's.
    """
    hierarchies = cgroup_mounts()
    links = {
        name: os.readlink(f"{CGROUPS}/{name}") for name in os.listdir(CGROUPS) if os.path.islink(f"{CGROUPS}/{name}")
    }
    checked(_libc.unshare(CLONE_NEWCGROUP), "unshare cgroup")
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    umount(SYS)
    mount("sysfs", SYS, "sysfs", flags)
    if CGROUPS not in (target for target, _ in hierarchies):  # v1, or both: a directory for each
        mount("tmpfs", CGROUPS, "tmpfs", flags, "mode=0755")
    for target, controllers in hierarchies:
        os.makedirs(target, exist_ok=True)
        mount("cgroup", target, "cgroup" if controllers else "cgroup2", flags, controllers)
        if not controllers:
            # In v2 a group either holds processes or passes controllers on. The world's root is to be free to pass on.
            with open(f"{target}/{LEAF}/cgroup.procs", "w") as file:
                file.write("0")
    for name, goal in links.items():  # such as cpu -> cpu,cpuacct
        os.symlink(goal, f"{CGROUPS}/{name}")


def execute(request: bytes, terminal: bool) -> None:
    """Become the command that `request` asks for.  Raises OSError when that fails.

    A request is the directory, the number of words, the words, and the environment, with a NUL behind each.
    """
    cwd, count, *rest = request.split(b"\0")[:-1]
    words, environment = rest[: int(count)], rest[int(count) :]
    os.setsid()
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(os.fsdecode(cwd))
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    for number in range(1, _signal.NSIG):  # Python ignores some, and a command would inherit that
        if number not in (_signal.SIGKILL, _signal.SIGSTOP) and _signal.getsignal(number) == _signal.SIG_IGN:
            _signal.signal(number, _signal.SIG_DFL)
    variables = dict(variable.split(b"=", 1) for variable in environment)
    # Our own walk: that of `os` imports a module first.
    places = [b""] if b"/" in words[0] else [place + b"/" for place in variables.get(b"PATH", b"").split(b":")]
    refused: OSError = FileNotFoundError(2, os.strerror(2))
    for place in places:
        try:
            os.execve(place + words[0], words, variables)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused = error
    raise OSError(refused.errno, refused.strerror, os.fsdecode(words[0]))


def start(descriptors: "list[int]") -> int:
    """Start a command and return its pid.  The descriptors: a file with the request, then standard input, output, error.

    As in a shell, one that can't be started says so on its standard error and ends with 127 (not found) or 126.
    """
    request, *standard = descriptors
    # A pipe that exec closes, and then ours is at its end: before that it is still a copy of us.
    executed, until = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(executed)
        os.close(until)
        raise
    if pid:
        os.close(until)
        os.read(executed, 1)
        os.close(executed)
        return pid
    try:
        for number, descriptor in enumerate(standard):
            os.dup2(descriptor, number)
        execute(os.pread(request, os.fstat(request).st_size, 0), os.isatty(0))
    except OSError as error:
        os.write(2, f"{error.filename}: {error.strerror}\n".encode(errors="surrogateescape"))
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    finally:
        os._exit(126)  # whatever happens, there must not be two of us


class Init:
    """The loop: what the harness asks for is done, and who has ended is reaped."""

    def __init__(self, harness: _socket.socket) -> None:
        self.harness = harness
        self.commands: dict[int, int] = {}  # pid: the pipe on which the harness learns how it ended
        self.wakeup, write = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(write, False)
        _signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)  # with no handler there would be no wakeup
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # to PID 1 that means: no signal from inside ends it

    def serve(self) -> None:
        """Do so until the harness is gone."""
        poll = select.poll()
        poll.register(self.harness.fileno(), select.POLLIN)
        poll.register(self.wakeup, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self.wakeup in ready:
                os.read(self.wakeup, 65536)
                self.reap()
            if self.harness.fileno() in ready and not self.obey():
                return

    def reap(self) -> None:
        """Wait for everyone who has ended: our own commands, and the orphans whom the kernel gave to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self.commands:
                report = self.commands.pop(pid)
                self.tell(report, f"ended {os.waitstatus_to_exitcode(status)}\n")
                os.close(report)

    def obey(self) -> bool:
        """Do what the next message says; False when there will be no more."""
        message, ancillary, _, _ = self.harness.recvmsg(16, 256, _socket.MSG_CMSG_CLOEXEC)
        raw = b"".join(data for _, _, data in ancillary)
        descriptors = [int.from_bytes(raw[i : i + 4], sys.byteorder) for i in range(0, len(raw), 4)]
        if message == RUN:
            report, *others = descriptors
            try:
                pid = start(others)
            except OSError as error:  # the world may be full
                self.tell(report, f"refused {error.strerror}\n")
                os.close(report)
            else:
                self.commands[pid] = report
                self.tell(report, f"began {pid}\n")
            for descriptor in others:
                os.close(descriptor)
        elif message == KILL:
            os.kill(-1, _signal.SIGKILL)  # all at once, so that nobody can fork away from it
        return bool(message)

    def tell(self, report: int, line: str) -> None:
        """Say how it went with a command."""
        try:
            os.write(report, line.encode())
        except BrokenPipeError:
            pass  # the harness no longer wants to know


def main() -> None:
    """Make the world, say `ready` or what went wrong, and serve."""
    if os.getpid() != 1:  # it would mount over the machine's own /root, and KILL would end the machine
        sys.exit("init.py is the first process of a world, and nothing else")
    harness = _socket.socket(fileno=os.dup(0))
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    os.umask(0o022)
    try:
        try:
            make_network()
            make_mounts(sys.argv[1:])
        finally:  # read it in any case: else the harness would get a reset, and not our words
            message = harness.recv(16)
        if message != GO:
            return
        make_sys()
        mount("none", "/", "none", MS_REC | MS_SHARED)  # as systemd makes it on most machines
        init = Init(harness)
    except Exception as error:
        harness.send(str(error).encode(errors="surrogateescape"))
        return
    harness.send(b"ready")
    init.serve()


if __name__ == "__main__":
    main()
