"""3.2  A control group limits what the container may use."""

import os

import pytest

from harness.expect import expect, expect_all, expect_none, expect_soon
from harness.program import Program, long_sleep
from harness.tables import field, group, limit, members
from harness.world import World

LIMIT = 104857600  # 100m


@pytest.mark.behaviour("D4", since="3.2")
def test_memory_limit(program: Program, world: World) -> None:
    """D4: `-m 100m` limits the container's cgroup to 104857600 bytes, and the command is inside."""
    command = long_sleep()
    runtime = program.begin(*command, memory="100m")
    first = program.appeared(*command, runtime=runtime)
    means = "The group has to be made, its memory.limit_in_bytes (v2: memory.max) written, and the PID put into cgroup.procs."
    expect_soon(
        lambda: limit(world, first, "memory", "memory.limit_in_bytes", "memory.max"),
        str(LIMIT),
        "the memory limit of the cgroup that /proc/PID/cgroup names",
        means,
    )
    directory = group(world, first, "memory")
    inside = members(directory, world) if directory else set()
    expect_all(inside, [first], "the processes in that cgroup's cgroup.procs", means)
    program.end(runtime)
    means = "When the container has ended its groups are to be removed, with rmdir."
    expect_none([directory] if directory and directory.exists() else [], "what is left of that cgroup after it", means)


@pytest.mark.behaviour("D5", since="3.2")
def test_cpuset(program: Program, world: World) -> None:
    """D5: `-cpuset 1` pins to CPU 1."""
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("CPU 1 is not to be had here, or it is the only one")
    command = long_sleep()
    runtime = program.begin(*command)
    free = program.appeared(*command, runtime=runtime)
    means = "Without -cpuset all CPUs are the container's."
    expect(field(world, free, "Cpus_allowed_list") != "1", True, "may one without -cpuset use other CPUs?", means)
    command = long_sleep()
    runtime = program.begin(*command, cpuset="1")
    first = program.appeared(*command, runtime=runtime)
    expect_soon(
        lambda: field(world, first, "Cpus_allowed_list"),
        "1",
        "Cpus_allowed_list in /proc/PID/status",
        "In v1 no process can enter a cpuset group whose cpuset.mems is empty: write it first, at every level.",
    )
