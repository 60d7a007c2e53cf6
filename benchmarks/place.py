"""A place of our own to measure in: what is made there, mounted, started or put into control groups goes away with it.

Its processes are a pid namespace whose PID 1 is the benchmark itself; its mounts are a mount namespace; its network is lo; and
its control groups are a subtree that looks from inside like the roots of the machine's.  The machine's files are seen, and
what is written to /etc, /var, /run or /dev/shm is written to memory.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness import init
from harness.subtree import Subtree, put
from stages.kernel import syscalls

HERE = Path("/run/benchmarks")
MEMORY, DISK = HERE / "memory", HERE / "disk"

# $1 is a directory on the disk.  Overlay can't lie on overlay, so the engines' own stores get a tmpfs each.
MOUNTS = """
exec 3<"$1"
mount -t tmpfs none /run
mkdir -p /run/mount /run/benchmarks/memory /run/benchmarks/disk
mount --bind /proc/self/fd/3 /run/benchmarks/disk
mount -t tmpfs none /run/benchmarks/memory
mount -t tmpfs none /dev/shm
for name in etc var; do
    mkdir /run/benchmarks/$name /run/benchmarks/$name/upper /run/benchmarks/$name/work
    above=/run/benchmarks/$name
    mount -t overlay -o "lowerdir=/$name,upperdir=$above/upper,workdir=$above/work" none /$name
done
for name in docker containers containerd; do
    mkdir -p /var/lib/$name
    mount -t tmpfs none /var/lib/$name
done
"""


def inside(subtree: Subtree, disk: Path, work: Callable[[], int]) -> int:
    """Do `work` in a place of our own, and return what it returns; 130 when it was interrupted.

    `disk` is an empty directory, which is seen there as DISK; MEMORY is a tmpfs.  All processes of the place end with us,
    however we end.  Raises OSError when this machine can't make one.
    """
    for hierarchy, _ in subtree.hierarchies:
        limit = Path(hierarchy, subtree.name, "pids.max")
        if limit.exists():
            put(limit, "max")  # the harness expects fork bombs; we, a thousand containers
    child = os.fork()
    if child == 0:
        os._exit(_guarded(lambda: _enter(subtree, disk, work)))
    return _wait(child)


def _enter(subtree: Subtree, disk: Path, work: Callable[[], int]) -> int:
    syscalls.die_with_parent(signal.SIGKILL)
    subtree.add(os.getpid())
    init.make_network()
    syscalls.unshare(syscalls.CLONE_NEWPID)
    first = os.fork()
    if first == 0:
        os._exit(_guarded(lambda: _as_pid_1(disk, work)))
    return _wait(first)


def _as_pid_1(disk: Path, work: Callable[[], int]) -> int:
    syscalls.die_with_parent(signal.SIGKILL)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    init.make_sys()
    subprocess.run(["sh", "-ec", MOUNTS, "sh", disk], check=True)
    return work()


def _guarded(work: Callable[[], int]) -> int:
    """What `work` returns; whatever it raises ends here, since we are a child that must not go on as its parent would."""
    try:
        return work()
    except KeyboardInterrupt:
        return 130
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _wait(child: int) -> int:
    while True:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256
        except KeyboardInterrupt:
            continue  # it was typed at the terminal, so the child has it too, and ends


def reap() -> None:
    """Take leave of the orphans that have ended: as PID 1 we are who has to."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def cpu_time() -> float:
    """The seconds of CPU that all processes of the place have used so far, those of daemons and those that ended too."""
    for target, controllers in init.cgroup_mounts():
        if not controllers:
            fields = Path(target, "cpu.stat").read_text().split()
            return int(fields[fields.index("usage_usec") + 1]) / 1e6
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def group_to_move_in() -> Path | None:
    """A file to which a process may write its own number without anything being changed: it moves to where it is."""
    for target, controllers in init.cgroup_mounts():
        if not controllers:
            return Path(target, init.LEAF, "cgroup.procs")
    return None
