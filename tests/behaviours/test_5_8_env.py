"""5.8  An environment of the user's choosing, in run and in exec."""

import pytest

from harness.expect import expect_all, expect_end, expect_none
from harness.program import Program, fresh, long_sleep
from harness.tables import environment
from harness.world import World


@pytest.mark.behaviour("D21", since="5.8")
def test_env(program: Program, world: World) -> None:
    """D21: `env` shows the values given with `-e`, in run and in exec."""
    name, given = fresh("bird"), [f"ONE={fresh()}", f"TWO=two  words = {fresh()}"]
    first = program.detach(*long_sleep(), name=name, variables=given)
    expect_all(environment(world, first), given, "/proc/PID/environ of the container's first process")
    done = program.run("env", variables=given)
    expect_end(done)
    expect_all(done.out.splitlines(), given, "what `env` prints in `run`")
    done = program.exec(name, "env")
    expect_end(done)
    means = "`exec` starts with the caller's environment: it has to be given the container's, from its record."
    expect_all(done.out.splitlines(), given, "what `env` prints in `exec`", means)
    done = program.run("env")
    expect_none(
        [pair for pair in done.out.splitlines() if pair in given], "what `env` shows of it where no -e was given"
    )
