"""fork(2), with the child born in its control group where the kernel can do that.

To move a process into a group, the kernel first waits until no other process forks or ends: 5 to 20 ms, if nobody has moved
one a moment ago.  A process that is born in the group needs no move.  It takes cgroups v2, and Linux 5.7.
https://docs.kernel.org/admin-guide/cgroup-v2.html#threads
"""

import _thread
import os

from stages.kernel import syscalls


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
