"""5.6  `rm` undoes what `run` did; a container that runs is refused."""

import os

import pytest

from harness.expect import expect, expect_all, expect_end, expect_none, expect_refused
from harness.program import Program, fresh
from harness.tables import command_line, mounted, targets
from harness.world import World

REFUSED = "A running container must not be removed: its files are in use."


@pytest.mark.behaviour("D19", since="5.6")
def test_record(program: Program) -> None:
    """D19: before `rm` the container's directory holds config.json and container.log, after it nothing."""
    name = fresh("bird")
    program.detach("top", name=name)
    record, where = program.record(name), program.place("record", name=name)
    files = ["config.json", "container.log"]
    expect(record.is_dir(), True, f"is there {where}?")
    expect_all(set(os.listdir(record)), files, where)
    expect_refused(program.rm(name), REFUSED)
    expect_all(set(os.listdir(record)) if record.is_dir() else set(), files, f"{where} after that `rm`")
    expect_end(program.stop(name))
    expect_end(program.rm(name))
    expect(os.path.lexists(record), False, f"is there {where} after `rm`?")


@pytest.mark.behaviour("D19", since="5.6")
def test_rm(program: Program, world: World) -> None:
    """D19: `rm` refuses a running container; of a stopped one nothing is left."""
    name = fresh("bird")
    first = program.detach("top", name=name)
    layer, view = program.layer(name), program.place("view", name=name)
    expect_all(targets(world), [view], "where the host has mounts, by its mountinfo")
    expect(layer.is_dir(), True, "is its write layer there?")
    expect_refused(program.rm(name), REFUSED)
    expect(command_line(world, first), ["top"], "the container's first process after that `rm`")
    expect_all(targets(world), [view], "where the host has mounts after that `rm`")
    expect(layer.is_dir(), True, "is its write layer still there after that `rm`?")
    expect_end(program.stop(name))
    expect(program.row(name).get("NAME"), name, "its row in `ps` before `rm`")
    expect_end(program.rm(name))
    expect(program.row(name), {}, "its row in `ps` after `rm`")
    expect_none(mounted(world, view), f"what is mounted at {view} after `rm`, by the host's mountinfo")
    expect(os.path.lexists(layer), False, "is its write layer there after `rm`?")
