"""Each chapter twice: as it is, and by the scripts that its `--explain` prints, run by plain sh."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import busybox, subjects
from harness.program import Program
from harness.world import World


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The busybox image, as the harness makes it."""
    tarball = tmp_path_factory.mktemp("image") / "busybox.tar"
    busybox.build(tarball)
    return tarball


Pair = tuple[Program, Program]  # as it is, by script


@pytest.fixture
def pair(image: Path) -> Iterator[Callable[[str, bool], Pair]]:
    """A chapter as it is and by script, in a world each, or both in the same one."""
    worlds: list[World] = []

    def make(chapter: str, same_world: bool = False) -> Pair:
        programs = []
        for subject in (subjects.of_stage(chapter), subjects.explained(chapter)):
            if not worlds or not same_world:
                worlds.append(World(limit=20).__enter__())
                worlds[-1].copy_in(image, "/root/busybox.tar")
            programs.append(Program(subject, worlds[-1]))
        return programs[0], programs[1]

    yield make
    for world in worlds:
        world.__exit__()
