"""5.1  Nobody waits for it: the program ends, and the orphan is adopted by PID 1."""

import secrets
import time

import pytest

from harness.expect import expect, expect_end, expect_soon
from harness.program import Program
from harness.tables import GONE, command_line, exists, field, state
from harness.world import World


@pytest.mark.behaviour("D12", since="5.1")
def test_detached(program: Program, world: World) -> None:
    """D12: `run -d top` returns at once, and top goes on."""
    done = program.run("top", detach=True, name=program.new_name())
    means = "`run -d` must not wait for the container."
    expect_end(done, means=means)
    first = program.appeared("top")
    means = (
        "The container has to have a standard output of its own: whoever reads what `run -d` prints waits for its end."
    )
    expect(done.held, False, "does the container hold the standard output of `run -d` open?", means)
    expect(command_line(world, first), ["top"], "/proc/PID/cmdline after the program's end")
    expect(done.seconds < 5, True, "did it return within five seconds?")


@pytest.mark.behaviour("D12", since="5.1")
def test_adopted(program: Program, world: World) -> None:
    """D12: on the host a detached `top` has parent 1."""
    first = program.detach("top", name=program.new_name())
    means = (
        "A process of the program's stayed between them: it has to end, so that the kernel gives its child to PID 1."
    )
    expect_soon(lambda: field(world, first, "PPid"), "1", "PPid in /proc/PID/status of top", means)


@pytest.mark.behaviour("D13", since="5.1")
def test_ends_by_itself(program: Program, world: World) -> None:
    """D13: `run -d sleep 2` is gone after 2 s (5 in the text), and reaped."""
    seconds = 1 + secrets.randbelow(2000) / 1000
    begun = time.monotonic()
    first = program.detach("sleep", f"{seconds:.3f}", name=program.new_name())
    expect(exists(world, first), True, "is there /proc/PID at first?")
    where = f"State in /proc/PID/status after {seconds:.1f} s"
    expect_soon(lambda: state(world, first), GONE, where, seconds=3, after=seconds)
    took = time.monotonic() - begun
    means = "It ended before its time: with the program, perhaps."
    expect(took > seconds - 0.1, True, f"did it run for {seconds:.1f} s? It ran for {took:.1f}", means)
