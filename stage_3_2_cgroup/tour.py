"""Chapter 3.2: three limits, each as the kernel's own files have it."""

import os
from glob import glob

from stages.kernel import cgroups
from stages.kernel.kernelfiles import read
from stages.tour import Guide, eventually, field

# Each file as v1 and as v2 calls it.
MEMORY = ("memory.limit_in_bytes", "memory.max")
WITH_SWAP = ("memory.memsw.limit_in_bytes", "memory.swap.max")
SHARES = ("cpu.shares", "cpu.weight")


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    cpu = "1" if 1 in os.sched_getaffinity(0) else "0"  # the text has 1
    guide.step(1, "Start one with three limits, and beside it one without")
    limited = guide.begin("run", "-m", "100m", "-cpushare", "512", "-cpuset", cpu, "sleep", "1000")
    free = guide.begin("run", "sleep", "1001")
    one, other = guide.first(limited), guide.first(free)
    guide.need("both are started", one and other)
    eventually(lambda: group_of(one, "cpuset"))  # in this chapter the command may run before it is in its groups

    _memory(guide, one, other)
    _cpus(guide, one, other, cpu)

    guide.step(4, "They end")
    groups = {group_of(one, controller) for controller in ("memory", "cpu", "cpuset")} - {""}
    guide.end(limited)
    guide.end(free)
    guide.show(f"ls -d {' '.join(sorted(groups))}")
    guide.check("the groups are gone with the container", groups and not any(map(os.path.exists, groups)))


def _memory(guide: Guide, one: int, other: int) -> None:
    guide.step(2, "-m 100m: the memory of all processes in its group together")
    group = group_of(one, "memory")
    guide.check("the command is in a group", str(one) in guide.show(f"cat {group}/cgroup.procs").split())
    guide.check("its limit is 104857600 bytes", guide.show(f"cat {named(group, MEMORY)}") == "104857600\n")
    without = group_of(other, "memory")
    guide.check("the other one has no limit", without != group and read(named(without, MEMORY)) in ("", "max"))
    guide.say("\nA third wants twice as much:")
    done = guide.do("run", "-m", "100m", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1")
    if named(group, WITH_SWAP):  # else it may go to the swap
        guide.check("the kernel kills it: 137 is 128 and 9, the number of SIGKILL", done.returncode == 137)


def _cpus(guide: Guide, one: int, other: int, cpu: str) -> None:
    guide.step(
        3, f"-cpuset {cpu} says on which CPUs it may run, -cpushare 512 how much it gets when others want them too"
    )
    guide.look(f"grep Cpus_allowed_list /proc/{one}/status", field(one, "Cpus_allowed_list"))
    guide.check(f"it may use CPU {cpu} and no other", field(one, "Cpus_allowed_list") == cpu)
    ours, others = (field(pid, "Cpus_allowed_list") for pid in (os.getpid(), other))
    guide.look(f"grep Cpus_allowed_list /proc/{other}/status", others)
    guide.check("the other one may use what we may", others == ours)
    share = "512" if cgroups.Hierarchies().of("cpu")[1] == 1 else "20"
    shown = guide.show(f"cat {named(group_of(one, 'cpu'), SHARES)}")
    guide.check("its share is half of the ordinary 1024 (v2: 20, where 100 is ordinary)", shown == f"{share}\n")


def group_of(pid: int, controller: str) -> str:
    """The container's group, with this controller, in which the process is: the one whose cgroup.procs has it.  Else empty."""
    hierarchy, _ = cgroups.Hierarchies().of(controller)
    groups = glob(f"{hierarchy}/{cgroups.PARENT}/*/")
    return next((group[:-1] for group in groups if str(pid) in read(f"{group}cgroup.procs").split()), "")


def named(group: str, names: tuple[str, str]) -> str:
    """The file of a group that has one of these names; empty when there is none."""
    return next((f"{group}/{name}" for name in names if group and os.path.exists(f"{group}/{name}")), "")
