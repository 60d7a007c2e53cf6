"""4.3  A directory of the host, mounted into the container, outlives it."""

import pytest

from harness.expect import expect, expect_all, expect_end, expect_soon
from harness.program import Program, fresh, long_sleep
from harness.tables import content, targets, tree
from harness.world import World


@pytest.mark.behaviour("D10", since="4.3")
def test_volume(program: Program, world: World) -> None:
    """D10: what is written in a volume is on the host, outlives the container, and is seen by the next."""
    host, inside, name, text = f"/root/{fresh('from')}", f"/{fresh('to')}", fresh(), fresh()
    directory = world.path(host)
    volumes = [(host, inside)]
    directory.mkdir()
    command = long_sleep()
    script = f"echo {text} >{inside}/{name}; exec {' '.join(command)}"
    runtime = program.begin("sh", "-c", script, volumes=volumes)
    first = program.appeared(*command, runtime=runtime)
    means = "The host's directory has to be bound onto the directory in the container's view."
    expect_soon(lambda: content(directory / name), f"{text}\n", f"{host}/{name} on the host", means)
    expect_all(targets(world, first), [inside], "where the container has mounts, by its mountinfo", means)
    program.end(runtime)
    means = "The volume has to be unmounted before the container's directories are removed."
    expect(tree(directory), {name}, f"{host} on the host, after the container", means)
    expect(content(directory / name), f"{text}\n", f"{host}/{name} on the host, after the container", means)
    done = program.run("cat", f"{inside}/{name}", volumes=volumes)
    expect_end(done)
    expect(done.out, f"{text}\n", "what a second container reads there")


@pytest.mark.behaviour("D10", since="4.3")
def test_missing_directory(program: Program, world: World) -> None:
    """D10: a volume's directory that is missing on the host is made."""
    host, inside, name, text = f"/root/{fresh('from')}", f"/{fresh('to')}", fresh(), fresh()
    expect(world.path(host).exists(), False, "is the host's directory there beforehand?")
    done = program.run("sh", "-c", f"echo {text} >{inside}/{name}; exit 0", volumes=[(host, inside)])
    means = "Both directories have to be made if they are missing: the host's, and the one in the container's view."
    expect_end(done, means=means)
    expect(content(world.path(host) / name), f"{text}\n", f"{host}/{name} on the host", means)
