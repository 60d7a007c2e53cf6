"""Known defects of other implementations, 20 to 23: limits that leak, do nothing, or are ignored in silence."""

import os

import pytest

from harness.expect import expect, expect_not_run, expect_soon
from harness.program import Program, eventually, fresh, long_sleep
from harness.tables import field, limit
from harness.world import World

MEMORY = 104857600  # 100m
CPUS = sorted(os.sched_getaffinity(0))  # those that are to be had
MOST = 1 << 60  # bytes; v1 writes a number of about 2^63 where there is no limit
# What -cpushare 512 is in v2, where 100 is what 1024 was: in proportion; on the straight line between the ends of both scales,
# 1 + (512 - 2) * 9999 / 262142; on the curve through the ends and the middle that newer runtimes have.
WEIGHTS = {"50", "20", "59"}


def memory(world: World, pid: int) -> int:
    """The memory limit of the process's group in bytes; 0 when there is none."""
    value = limit(world, pid, "memory", "memory.limit_in_bytes", "memory.max")
    return int(value) if value.isdecimal() and int(value) < MOST else 0


def cpus(world: World, pid: int) -> str:
    """The CPUs that a process may use."""
    return field(world, pid, "Cpus_allowed_list")


@pytest.mark.behaviour("F20", since="3.2")
def test_limits_do_not_leak(program: Program, world: World) -> None:
    """F20: a container without -m and -cpuset has no limit, beside one that has and after it."""
    one = str(CPUS[0])
    running, first = program.stay(memory="100m", cpuset=one)
    where = "memory limit and CPUs of the one that is limited"
    expect_soon(lambda: (memory(world, first), cpus(world, first)), (MEMORY, one), where)
    means = "Each container needs a cgroup of its own, with a name that no other has, and removed when it ends."
    for when in ("beside", "after"):
        if when == "after":
            program.end(running)
        _, free = program.stay()
        # Before 3.3 the program puts it into its group when it runs already.
        eventually(lambda free=free: memory(world, free), 0 if program.knows("3.3") else 0.3)  # type: ignore[misc]
        expect(memory(world, free), 0, f"the memory limit of a container without -m {when} one with -m 100m", means)
        allowed = cpus(world, 1)
        expect(
            cpus(world, free), allowed, f"the CPUs of a container without -cpuset {when} one with -cpuset {one}", means
        )


@pytest.mark.behaviour("F20", since="5.4")
def test_exec_is_limited(program: Program, world: World) -> None:
    """F20: a command in `exec` is in the container's cgroup."""
    name = fresh("bird")
    first = program.detach(*long_sleep(), name=name, memory="100m")
    expect(memory(world, first), MEMORY, "the memory limit of the container's first process")
    process = program.stay_in(name)
    means = "A cgroup is no namespace, so setns does not join it: write the new process's PID into the group's cgroup.procs."
    expect_soon(lambda: memory(world, process), MEMORY, "the memory limit of the command in `exec`", means, seconds=2)


@pytest.mark.behaviour("F21", since="3.2")
def test_cpuset_with_memory(program: Program, world: World) -> None:
    """F21: -cpuset takes effect together with -m."""
    if len(CPUS) < 2:
        pytest.skip("there is one CPU only")
    last = str(CPUS[-1])
    _, free = program.stay()
    expect(cpus(world, free) != last, True, "may one without -cpuset use other CPUs?")
    _, first = program.stay(memory="100m", cpuset=last)
    means = (
        "In v1 no process can enter a cpuset group whose cpuset.mems is empty: write it first, at every level. "
        "And an error there must not keep the other limits from being set."
    )
    expect_soon(lambda: cpus(world, first), last, "Cpus_allowed_list in /proc/PID/status", means)
    expect_soon(lambda: memory(world, first), MEMORY, "the memory limit of its cgroup", means)


@pytest.mark.behaviour("F22", since="3.2")
def test_bad_limits(program: Program) -> None:
    """F22: bad values of -m, -cpushare and -cpuset are refused, and the command does not run without its limit."""
    token = fresh()
    done = program.run("echo", token, memory="100m", shares="512", cpuset=CPUS[0])
    expect(done.out, f"{token}\n", "what the command prints with good limits")
    bad = {"memory": ("lots", "100x"), "shares": ("many", "-5"), "cpuset": ("x", "9999")}
    means = "The kernel refused to take it, or it was never a number: whoever asks for a limit and gets none has to be told."
    for option, values in bad.items():
        for value in values:
            expect_not_run(program.run("echo", token, **{option: value}), token, means)  # type: ignore[arg-type]


@pytest.mark.behaviour("F23", since="3.2")
def test_cpu_shares(program: Program, world: World) -> None:
    """F23: -cpushare 512 takes effect, as cpu.shares in cgroup v1, as cpu.weight in v2."""

    def shares(pid: int) -> str:
        value = limit(world, pid, "cpu", "cpu.shares", "cpu.weight")
        return "512" if value in WEIGHTS else value

    _, free = program.stay()
    expect(shares(free) != "512", True, "has one without -cpushare other shares?")
    _, first = program.stay(shares="512")
    means = "The group needs cpu.shares (v1), or cpu.weight (v2), where 1024 shares are an ordinary weight of 100, and the PID."
    expect_soon(lambda: shares(first), "512", "cpu.shares of its cgroup, or what cpu.weight is of them", means)
