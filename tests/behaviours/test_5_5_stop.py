"""5.5  SIGTERM asks the container's PID 1 to end, SIGKILL ends it; the record then says stopped."""

import pytest

from harness.expect import expect, expect_end, expect_soon
from harness.program import Program, fresh, long_sleep
from harness.tables import GONE, state
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
