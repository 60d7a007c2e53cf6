"""How a process comes into its control groups: it is born in one where the kernel can do that, and moved otherwise.

To move a process into a group, the kernel first waits until no other process forks or ends: 5 to 20 ms, if nobody has moved
one a moment ago.  A process that is born in the group needs no move.  It takes cgroups v2, and Linux 5.7.
https://docs.kernel.org/admin-guide/cgroup-v2.html#threads
"""

import _thread
import os

from stages.kernel import kernelfiles, syscalls
from stages.kernel.step import Start, Step, quoted


def fork(group: str) -> tuple[int, str]:
    """os.fork(), into the cgroup whose directory is `group` if that can be: returns what os.fork returns, and the group.

    The group that is returned is empty when the child is still to be moved there: `group` is empty or one of v1, the kernel is
    older, or this program has threads, which may hold locks of the C library's that only its own fork sees to.
    """
    if group and not _thread._count():
        try:
            directory = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return os.fork(), ""
        try:
            return syscalls.fork_into(directory), group
        except OSError:
            return os.fork(), ""  # and the attempt to move it will say why
        finally:
            os.close(directory)
    return os.fork(), ""


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
