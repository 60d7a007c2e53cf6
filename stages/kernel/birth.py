"""How a process comes into its control groups: it is born in one where the kernel can do that, and moved otherwise.

To move a process into a group, the kernel first waits until no other process forks or ends: 5 to 20 ms, if nobody has moved
one a moment ago.  A process that is born in the group needs no move.  It takes cgroups v2, and Linux 5.7.
https://docs.kernel.org/admin-guide/cgroup-v2.html#threads
"""

import _thread
import errno
import os

from stages.kernel import kernelfiles, syscalls
from stages.kernel.step import Start, Step, quoted

_UNKNOWN_CALL = (errno.ENOSYS, errno.EINVAL, errno.E2BIG, errno.EPERM)  # an older kernel, or a filter such as Docker's


def fork(group: str) -> tuple[int, str]:
    """os.fork(), into the cgroup whose directory is `group` if that can be: returns what os.fork returns, and the group.

    The group that is returned is empty when the child is still to be moved there: `group` is empty or one of v1, the kernel is
    older, or this program has threads, which may hold locks of the C library's that only its own fork sees to.
    Raises OSError.
    """
    if not os.path.exists(f"{group}/cgroup.controllers") or _thread._count():  # which only v2 has
        return os.fork(), ""
    directory = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return syscalls.fork_into(directory), group
    except OSError as error:
        # Any other comes too late: a pid namespace whose first process was never born takes no second one (ENOMEM).
        if error.errno not in _UNKNOWN_CALL:
            raise
        return os.fork(), ""
    finally:
        os.close(directory)


class JoinCgroup(Step):
    """Put the container's process into its control groups."""

    why = "A process's children are born into its group, so whatever the container starts is limited with it."

    def __init__(self, groups: list[str]) -> None:
        self.groups = groups

    @property
    def birthplace(self) -> str:
        return self.groups[0] if self.groups else ""  # the one of v2, if there is one

    def do(self, start: Start) -> None:
        for group in self.groups:
            if group != start.born_in:
                kernelfiles.write(f"{group}/cgroup.procs", str(start.pid))

    def shell(self) -> str:
        return "\n".join(f'echo "$pid" >{quoted(group + "/cgroup.procs")}' for group in self.groups)

    def seen(self, pid: int) -> str:
        inside = [group for group in self.groups if str(pid) in kernelfiles.read(f"{group}/cgroup.procs").split()]
        return "\n".join(f"{group}/cgroup.procs: {pid}" for group in inside)
