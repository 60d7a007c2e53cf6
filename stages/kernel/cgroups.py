"""Control groups, v1 and v2 behind the same verbs.

https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/index.html
"""

import os

from stages.kernel import mounts, steps
from stages.kernel.errors import Failure
from stages.kernel.kernelfiles import read
from stages.kernel.step import Step

PARENT = "zocker"  # one directory above all the containers' groups
SUFFIXES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
LEAST_MEMORY = 6 << 20  # Docker's: with less a process dies before it does anything
SHARES = (2, 262144)  # the kernel's own bounds of cpu.shares


class Hierarchies:
    """Where this machine's cgroup file systems are mounted: `v2` its directory or empty, `v1` controller: directory."""

    def __init__(self) -> None:
        self.v2 = ""
        self.v1: dict[str, str] = {}
        # Which there are: `0::/a/path` is v2, `4:memory:/a/path` one of v1.  proc_pid_cgroup(5), cgroups(7)
        wanted = {line.split(":")[1] for line in read("/proc/self/cgroup").split("\n")}
        for mount in mounts.each(about=" - cgroup"):
            if mount.fstype == "cgroup2" and not self.v2:
                self.v2 = mount.target
                wanted.discard("")
            elif mount.fstype == "cgroup":
                options = mount.super_options.split(",")
                for controller in options:
                    self.v1.setdefault(controller, mount.target)
                wanted = {one for one in wanted if not set(one.split(",")) <= set(options)}
            if not wanted:
                return  # the mounts of a thousand containers come behind them

    def of(self, controller: str) -> tuple[str, int]:
        """The directory and version (1 or 2) of the hierarchy that has `controller`.  Raises Failure when none has."""
        if controller in read(f"{self.v2}/cgroup.controllers").split():
            return self.v2, 2
        if controller in self.v1:
            return self.v1[controller], 1
        raise Failure(
            f"this machine has no {controller} controller for control groups, so that limit could not be kept"
        )


def parse_memory(value: str) -> int:
    """`100m` in bytes.  Raises Failure."""
    number = value.rstrip("bkmgBKMG")
    suffix = value[len(number) :].lower()
    if not (number.isascii() and number.isdigit() and suffix in SUFFIXES) or len(number) > 15:
        raise Failure(f"-m {value}: a memory limit is a number with b, k, m or g after it, such as 100m")
    limit = int(number) * SUFFIXES[suffix]
    if not LEAST_MEMORY <= limit < 1 << 62:
        raise Failure(f"-m {value}: a memory limit is at least 6m, and less than the machine could ever have")
    return limit


def parse_shares(value: str) -> int:
    """`512` as a number of cpu shares.  Raises Failure."""
    least, most = SHARES
    if not (value.isascii() and value.isdigit() and len(value) < 9 and least <= int(value) <= most):
        raise Failure(f"-cpushare {value}: cpu shares are a number from {least} to {most}; 1024 is an ordinary share")
    return int(value)


def parse_cpuset(value: str) -> str:
    """`0-1,3` checked against the CPUs that there are.  Raises Failure."""
    wanted = cpu_numbers(value)
    if not wanted:
        raise Failure(f"-cpuset {value}: name CPUs by number, such as 1 or 0-2,4")
    directory, version = Hierarchies().of("cpuset")
    there = read(f"{directory}/cpuset.cpus.effective") if version == 2 else read(f"{directory}/cpuset.cpus")
    there = there or read("/sys/devices/system/cpu/online")
    if missing := sorted(wanted - cpu_numbers(there)):
        raise Failure(f"-cpuset {value}: this machine has no CPU {missing[0]}, only {there}")
    return value


def cpu_numbers(text: str) -> set[int]:
    """The numbers in a list like `0-2,4`; empty when it isn't one.  "List format" in cpuset(7)."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        ends = [first, last] if "-" in part else [first, first]
        if not all(end.isascii() and end.isdigit() and len(end) < 6 for end in ends) or int(ends[0]) > int(ends[1]):
            return set()
        numbers.update(range(int(ends[0]), int(ends[1]) + 1))
    return numbers


def weight_of(shares: int) -> int:
    """v2's cpu.weight (1 to 10000) for v1's cpu.shares (2 to 262144): 1 + (shares - 2) * 9999 / 262142.

    The straight line between the ends, as Kubernetes and runc draw it.
    """
    return 1 + (shares - 2) * 9999 // 262142


def plan(container_id: str, memory: int, shares: int, cpuset: str) -> tuple[list[str], list[Step]]:
    """The container's control groups, and the steps that make and set them.

    `memory` is in bytes, `shares` as in cpu.shares, `cpuset` a list of CPUs; 0 and empty mean no limit.  A group that can
    freeze all of the container is always among them.  Raises Failure when a limit can't be kept on this machine.
    """
    here = Hierarchies()
    groups: list[str] = []
    todo: list[Step] = []

    def group(hierarchy: str) -> str:
        path = f"{hierarchy}/{PARENT}/{container_id}"
        if path not in groups:
            groups.append(path)
            todo.append(steps.MakeCgroup(path))
        return path

    def controlled(controller: str) -> tuple[str, int]:
        hierarchy, version = here.of(controller)
        if version == 2:
            # A controller reaches a group when every group above it passes it on. One at a time: if one is refused, it is clear which.
            todo.append(steps.SetLimit(f"{hierarchy}/cgroup.subtree_control", f"+{controller}"))
            path = group(hierarchy)
            todo.append(steps.SetLimit(f"{hierarchy}/{PARENT}/cgroup.subtree_control", f"+{controller}"))
        else:
            path = group(hierarchy)
        return path, version

    if here.v2:
        group(here.v2)
    elif "freezer" in here.v1:
        group(here.v1["freezer"])
    if memory:
        path, version = controlled("memory")
        if version == 2:
            todo.append(steps.SetLimit(f"{path}/memory.max", str(memory)))
            todo.append(steps.SetLimit(f"{path}/memory.swap.max", "0", if_there=True))
        else:
            todo.append(steps.SetLimit(f"{path}/memory.limit_in_bytes", str(memory)))
            todo.append(steps.SetLimit(f"{path}/memory.memsw.limit_in_bytes", str(memory), if_there=True))
    if shares:
        path, version = controlled("cpu")
        if version == 2:
            todo.append(steps.SetLimit(f"{path}/cpu.weight", str(weight_of(shares))))
        else:
            todo.append(steps.SetLimit(f"{path}/cpu.shares", str(shares)))
    if cpuset:
        path, version = controlled("cpuset")
        if version == 1:
            # v1 takes no process into a cpuset whose cpus or mems are empty, and both are empty at first, at every level.
            hierarchy = os.path.dirname(os.path.dirname(path))
            cpus, mems = read(f"{hierarchy}/cpuset.cpus"), read(f"{hierarchy}/cpuset.mems")
            todo.append(steps.SetLimit(f"{hierarchy}/{PARENT}/cpuset.cpus", cpus))
            todo.append(steps.SetLimit(f"{hierarchy}/{PARENT}/cpuset.mems", mems))
            todo.append(steps.SetLimit(f"{path}/cpuset.mems", mems))
        todo.append(steps.SetLimit(f"{path}/cpuset.cpus", cpuset))
    return groups, todo
