"""Two runs at once: one has the virtual machine, the other waits and says so.

The kernel frees a lock however its holder ends (flock(2)), so there is no stale one.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(file: Path, say: Callable[[str], None], *, shared: bool = False) -> Iterator[None]:
    """Hold the lock; while another has it, say once who, and wait.  Shared: several may hold it so at once.

    Raises OSError when the file can't be made.
    """
    with open(file, "a+") as lock:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            by = f" (process {holder})" if holder else ""
            say(f"waiting: the virtual machine is in use by another command{by}; Ctrl-C gives up")
            fcntl.flock(lock, kind)
        if not shared:
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        yield
