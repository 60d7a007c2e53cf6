"""5.5  SIGTERM asks the container's PID 1 to end, SIGKILL ends it; the record then says stopped."""

import signal

import pytest

from harness.expect import expect, expect_end, expect_soon
from harness.program import Program, fresh, long_sleep
from harness.running import Running
from harness.tables import GONE, exists, state
from harness.world import World


@pytest.mark.behaviour("D18", since="5.5")
@pytest.mark.parametrize("command", ["top", "sleep"])
def test_stop(program: Program, world: World, command: str) -> None:
    """D18: after `stop` the status is stopped, the PID column is empty, the process is gone.

    Of top, which dies of SIGTERM, and of sleep, which as a PID 1 does not even notice it.
    """
    name = fresh("bird")
    first = program.detach(*((command,) if command == "top" else long_sleep()), name=name)
    row = program.row(name)
    expect([row.get("STATUS"), row.get("PID")], ["running", str(first)], "its STATUS and PID in `ps` beforehand")
    done = program.stop(name)
    expect_end(done)
    means = "The kernel keeps SIGTERM from a PID 1 that has no handler for it: after a while it takes SIGKILL."
    expect_soon(lambda: state(world, first), GONE, "State in /proc/PID/status of its first process", means)
    row = program.row(name)
    expect([row.get("STATUS"), row.get("PID")], ["stopped", ""], "its STATUS and PID in `ps` after `stop`")


@pytest.mark.behaviour("D18", since="5.5")
def test_stop_asks_first(program: Program, world: World) -> None:
    """D18: `stop` asks by SIGTERM, and gives a PID 1 that handles it the time to end in its own way."""
    name, ready, last = fresh("bird"), fresh("ready"), fresh("last")
    script = f"trap 'sleep 0.3; echo {last}; exit 0' TERM; echo {ready}; while :; do sleep 0.05; done"
    expect_end(program.run("sh", "-c", script, detach=True, name=name))
    expect_soon(lambda: program.logs(name).out.split(), [ready], "what it has printed beforehand, by `logs`")
    expect_end(program.stop(name))
    means = "SIGKILL can't be handled: whoever gets it ends at once, with its work half done. First SIGTERM, then some patience."
    expect(program.logs(name).out.split(), [ready, last], "what it has printed in the end, by `logs`", means)


@pytest.mark.behaviour("D18", since="5.5")
def test_number_given_away(program: Program, world: World) -> None:
    """D18: a container that has ended is not taken for running when another process has its number now, and that one is spared."""
    name, command = fresh("bird"), long_sleep()
    first = program.detach(*command, name=name)
    expect(program.row(name).get("STATUS"), "running", "its STATUS in `ps` at first")
    world.signal(first, signal.SIGKILL)
    expect_soon(lambda: exists(world, first), False, "is there /proc/PID of its first process?")
    other = _process_numbered(world, first)
    means = "A number is no identity: it is used again. Compare the process's start time in /proc/PID/stat as well."
    expect(
        program.row(name).get("STATUS") == "running", False, "is its STATUS in `ps` running, when it has ended?", means
    )
    program.stop(name)
    expect(other.ended(), False, "has `stop` ended the other process of that number?", means)
    _end(other)


def _process_numbered(world: World, pid: int) -> Running:
    """Another process, which gets this number.  It can only be hoped for that nobody else is faster."""
    for _ in range(20):
        world.run(["sh", "-c", f"echo {pid - 1} >/proc/sys/kernel/ns_last_pid"])
        other = world.start(["sleep", "1000000"])
        if other.pid == pid:
            return other
        _end(other)
    pytest.skip("the kernel gives no number twice here: /proc/sys/kernel/ns_last_pid")


def _end(running: Running) -> None:
    running.signal(signal.SIGKILL)
    running.wait()
