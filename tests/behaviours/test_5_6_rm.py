"""5.6  `rm` undoes what `run` did; a container that runs is refused."""

import os

import pytest

from harness.expect import expect, expect_all, expect_end, expect_none, expect_refused
from harness.program import Program, fresh
from harness.tables import command_line, mounted, targets
from harness.world import World


@pytest.mark.behaviour("D19", since="5.6")
def test_rm(program: Program, world: World) -> None:
    """D19: before `rm` there are config.json and container.log, after it nothing; a running container is refused."""
    name = fresh("bird")
    first = program.detach("top", name=name)
    record, view = program.record(name), program.subject.place("view", name=name)
    where = program.subject.place("record", name=name)
    files = ["config.json", "container.log"]
    expect(record.is_dir(), True, f"is there {where}?")
    expect_all(set(os.listdir(record)), files, where)
    expect_all(targets(world), [view], "where the host has mounts, by its mountinfo")
    done = program.rm(name)
    expect_refused(done, "A running container must not be removed: its files are in use.")
    expect(command_line(world, first), ["top"], "the container's first process after that `rm`")
    expect_all(set(os.listdir(record)) if record.is_dir() else set(), files, f"{where} after that `rm`")
    expect_all(targets(world), [view], "where the host has mounts after that `rm`")
    expect_end(program.stop(name))
    expect_end(program.rm(name))
    expect(os.path.lexists(record), False, f"is there {where} after `rm`?")
    expect(program.row(name), {}, "its row in `ps` after `rm`")
    expect_none(mounted(world, view), f"what is mounted at {view} after `rm`, by the host's mountinfo")
    expect(os.path.lexists(program.layer(name)), False, "is its write layer there after `rm`?")
