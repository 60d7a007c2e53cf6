"""4.2  Writes go to a layer above the image; the image stays as it was.  One layer for all, gone at exit."""

import os

import pytest

from harness.expect import expect, expect_all, expect_end, expect_none, expect_soon
from harness.program import Program, fresh, until
from harness.tables import content, mounted, targets, tree, visible
from harness.world import World


@pytest.mark.behaviour("D9", since="4.2", until="5.7")
def test_write_layer(program: Program, world: World) -> None:
    """D9: a new file is in the write layer and the merged view, not in the image; the layers go at exit."""
    name, text, end = fresh(), fresh(), fresh("end")
    image = tree(program.image())
    runtime = program.begin("sh", "-c", f"echo {text} >/{name}; {until(f'/{end}')}")
    layer, view, where = program.layer(), program.view(), program.place("view", name="")
    means = "The container's root has to be the union of both, with the write layer as the upper branch."
    expect_soon(lambda: content(layer / name), f"{text}\n", f"{program.place('layer', name='')}/{name}", means)
    expect(content(view / name), f"{text}\n", f"{where}/{name}", means)
    expect_all(targets(world), [where], "where the host has mounts, by its mountinfo", means)
    expect(tree(layer), {name}, "all that is in the write layer")
    means = "The image is to be the lower branch, read-only."
    expect(tree(program.image()), image, "the image's directory, with all that is in it", means)
    os.mknod(view / end)  # not opened: what is open in a mount keeps it
    expect_end(runtime.wait(10))
    left = visible(world.path("/root"))
    means = "When the container ends: umount the view, remove its directory, remove the write layer."
    expect(
        left, {"busybox", "busybox.tar"} | program.there_first, "what is in /root when the container has ended", means
    )
    expect_none(mounted(world, where), f"what is still mounted at {where}, by the host's mountinfo", means)


@pytest.mark.behaviour("D9", since="4.2")
def test_fresh_layer(program: Program, world: World) -> None:
    """D9: the next container sees nothing of what the one before has written."""
    name, image = fresh(), tree(program.image())
    done = program.run("sh", "-c", f"echo >/{name}; rm /etc/group; ls / /etc")
    expect_end(done)
    expect(name in done.out.split(), True, "does the container see its own file?")
    expect("group" in done.out.split(), False, "does it see a file that it has removed?")
    done = program.run("ls", "/", "/etc")
    means = "The write layer of the first container was given to the second one."
    expect(name in done.out.split(), False, "does the next container see the file?", means)
    expect("group" in done.out.split(), True, "does it see the image's file again?", means)
    expect(tree(program.image()), image, "the image's directory, with all that is in it")
