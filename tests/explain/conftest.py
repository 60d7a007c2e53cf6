"""Each chapter twice: as it is, and by the scripts that its `--explain` prints, run by plain sh."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness import busybox, subjects
from harness.program import Program
from harness.subjects import CHECKOUT
from harness.world import World

BY_SCRIPT = """\
#!/bin/sh
# {chapter}, but what is done is done by the script that --explain prints.
verb=$1
shift
script=$(mktemp)
{stages} run {chapter} -- "$verb" --explain "$@" >"$script" || exit $?
sh "$script"
code=$?
rm -f "$script"
exit $code
"""


def by_script(chapter: str, directory: Path) -> subjects.Subject:
    """A chapter of ours by its scripts, as a subject.  Its program is written to `directory`."""
    program = directory / f"explained-{chapter}"
    stages = shlex.quote(str(CHECKOUT / "bin" / "stages"))
    program.write_text(BY_SCRIPT.format(chapter=chapter, stages=stages))
    program.chmod(0o755)
    return replace(subjects.of_program(str(program), chapter), name=f"explained {chapter}")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The busybox image, as the harness makes it."""
    tarball = tmp_path_factory.mktemp("image") / "busybox.tar"
    busybox.build(tarball)
    return tarball


Pair = tuple[Program, Program]  # as it is, by script


@pytest.fixture
def pair(image: Path, tmp_path: Path) -> Iterator[Callable[[str, bool], Pair]]:
    """A chapter as it is and by script, in a world each, or both in the same one."""
    worlds: list[World] = []

    def make(chapter: str, same_world: bool = False) -> Pair:
        programs = []
        for subject in (subjects.of_stage(chapter), by_script(chapter, tmp_path)):
            if not worlds or not same_world:
                worlds.append(World(limit=20).__enter__())
                worlds[-1].copy_in(image, "/root/busybox.tar")
            programs.append(Program(subject, worlds[-1]))
        return programs[0], programs[1]

    yield make
    for world in worlds:
        world.__exit__()
