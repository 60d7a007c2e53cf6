"""Pausing all processes of a container: the freezer of cgroup v2, or that of v1 where there is no v2.

https://docs.kernel.org/admin-guide/cgroup-v2.html#core-interface-files (cgroup.freeze)
https://docs.kernel.org/admin-guide/cgroup-v1/freezer-subsystem.html
"""

import os
import time

from stages.kernel import kernelfiles, log
from stages.kernel.errors import Failure


def freeze(groups: list[str], seconds: float = 10) -> None:
    """Stop every process in the groups, and wait until they stand still.  Raises Failure after `seconds`."""
    for group in groups:
        if os.path.exists(f"{group}/cgroup.freeze"):
            return _freeze(f"{group}/cgroup.freeze", "1", f"{group}/cgroup.events", "frozen 1", seconds)
        if os.path.exists(f"{group}/freezer.state"):
            return _freeze(f"{group}/freezer.state", "FROZEN", f"{group}/freezer.state", "FROZEN", seconds)
    return None


def thaw(groups: list[str]) -> None:
    """Let the processes in the groups go on; harmless when they do already."""
    for group in groups:
        for name, value in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
            if os.path.exists(f"{group}/{name}"):
                log.note(f"echo {value} >{group}/{name}")
                kernelfiles.write(f"{group}/{name}", value)


def _freeze(switch: str, value: str, answer: str, expected: str, seconds: float) -> None:
    log.note(f"echo {value} >{switch}")
    kernelfiles.write(switch, value)
    deadline = time.monotonic() + seconds
    while expected not in kernelfiles.read(answer).split("\n"):
        if time.monotonic() > deadline:
            raise Failure(f"the container could not be paused within {seconds:g} s: {answer} never said {expected!r}")
        time.sleep(0.001)
