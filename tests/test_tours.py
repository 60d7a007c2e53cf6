"""`stages tour X`: every chapter's tour shows what the chapter documents, ends with 0, and leaves nothing, also after Ctrl-C.

Each is performed in a world of its own: / is shared there, as on most machines.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import chapters
from harness.look import difference, look_at
from harness.program import eventually
from harness.world import World
from tests.conftest import CHECKOUT, STAGES

TOURS = sorted(CHECKOUT.glob("stage_*/tour.py"))
every_tour = pytest.mark.parametrize("tour", TOURS, ids=lambda tour: tour.parent.name)
# A directory that goes away with the world, and in which no other tour is.
ENVIRONMENT = {"TMPDIR": "/root", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def world() -> Iterator[World]:
    """A world in which nothing may be left."""
    with World(limit=60) as world:
        before = look_at(world)
        yield world
        left: list[str] = []

        def nothing() -> bool:
            left[:] = [each for each in difference(before, look_at(world)) if not is_the_machines(each, world)]
            return not left

        assert eventually(nothing, 5), f"the tour left this behind: {left}"


def is_the_machines(difference: str, world: World) -> bool:
    """A mount that is gone with its directory: the world began with a copy of it, and others have done that on the machine."""
    mount = difference.removeprefix("a mount is gone: ")
    return mount != difference and not world.path(mount.rpartition(" (")[0]).exists()


def command(tour: Path) -> list[str]:
    return [str(STAGES), "tour", chapters.number_of(tour.parent.name)]


@every_tour
def test_a_tour_sees_all_that_its_chapter_documents(world: World, tour: Path) -> None:
    done = world.run(command(tour), env=ENVIRONMENT)
    assert (done.code, done.err) == (0, ""), done.out + done.err
    assert "✗" not in done.out
    seen = done.out.count("  ✓ ")
    assert seen >= 5, "four of its chapter's, and that nothing is left"
    assert f"{seen} of {seen} documented behaviours seen." in done.out
    numbers = [int(number) for number in re.findall(r"^--- (\d+)\. ", done.out, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1)), "its steps are counted"


@every_tour
def test_a_tour_leaves_nothing_after_ctrl_c(world: World, tour: Path) -> None:
    """It is typed in the middle: while the second step is shown."""
    running = world.start(command(tour), env=ENVIRONMENT, terminal=True)
    assert eventually(lambda: "--- 2. " in running.screen() or running.ended(), 20)
    running.type("\x03")
    done = running.wait()
    assert done.code == 130, done.out
    assert "interrupted: all is as it was before" in done.out


def test_a_bar_on_a_terminal_shows_how_far_the_tour_is(world: World) -> None:
    """Chapter 5.5 takes longer than a second, for it waits for one who does not go.  In the end no bar is left."""
    words = [str(STAGES), "tour", "5.5"]
    running = world.start(words, env=ENVIRONMENT, terminal=True)
    assert running.wait().code == 0
    bars = re.findall(r"\r\[(#*) *\] (\d) of 5 steps", running.screen())
    assert bars and all(len(bar) == 30 * int(number) // 5 for bar, number in bars)
    lines = [re.sub(r".*\r(?=.)", "", line.rstrip("\r")) for line in running.screen().split("\n")]
    assert not [line for line in lines if " steps" in line]
    assert [line[:6] for line in lines if line[:4] == "--- "] == [f"--- {n}." for n in range(1, 6)]
    assert " steps" not in world.run(words, env=ENVIRONMENT).err  # no terminal, no bar


def test_pause_waits_for_a_key_before_each_step_and_q_ends_it(world: World) -> None:
    words = [str(STAGES), "tour", "3.3", "--pause"]
    running = world.start(words, env=ENVIRONMENT, terminal=True)
    assert eventually(lambda: "(a key goes on" in running.screen(), 20)
    assert "--- 1. " not in running.screen()
    running.type(" ")
    assert eventually(lambda: running.screen().count("(a key goes on") == 2, 20)
    assert "--- 1. " in running.screen() and "--- 2. " not in running.screen()
    running.type("q")
    assert running.wait().code == 130
    piped = world.run(words, env=ENVIRONMENT)  # no terminal, no waiting
    assert piped.code == 0 and "a key" not in piped.out
