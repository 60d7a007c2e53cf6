"""5.7  Any image, by name; a layer and a mount for each container; and an image from each: `commit CONTAINER IMAGE`."""

import os

import pytest

from harness.busybox import ROOT_DIRECTORIES
from harness.expect import expect, expect_all, expect_end, expect_none, expect_refused, expect_soon
from harness.program import Program, fresh, is_first
from harness.tables import content, exists, targets, tree, visible
from harness.tars import read
from harness.world import World


@pytest.mark.behaviour("D9", since="5.7")
def test_layer_outlives(program: Program, world: World) -> None:
    """D9: the write layer is the container's own, outlives a detached one, and goes with `rm`."""
    names, text, image = [fresh("bird") for _ in range(2)], fresh(), tree(program.image())
    for name in names:
        expect_end(program.run("sh", "-c", f"echo {text} >/{name}", detach=True, name=name))
        expect_soon(lambda: [p.pid for p in world.processes() if is_first(p)], [], "containers that still run")
    for name in names:
        where = program.subject.place("layer", name=name)
        expect(tree(program.layer(name)), {name}, f"{where} after the container's end")
        expect(content(program.layer(name) / name), f"{text}\n", f"{where}/{name}")
    expect(tree(program.image()) == image, True, "is the image's directory as it was?")
    expect_end(program.rm(names[0]))
    expect(os.path.lexists(program.layer(names[0])), False, "is its write layer there after `rm`?")
    expect(tree(program.layer(names[1])), {names[1]}, "the other's write layer after that")


@pytest.mark.behaviour("D20", since="5.7")
def test_the_chapters_transcript(program: Program, world: World) -> None:
    """D20: two containers with volumes; one is changed, committed, run as a new image, removed.

    Two steps of the transcript contradict the program it shows: `rm` refuses a running container, so a `stop` comes first,
    and container3 is still there in the last tree.
    """
    tag = fresh("")
    one, two, three = (f"container{n}{tag}" for n in (1, 2, 3))
    image, hello, inner = fresh("image1"), fresh("hello"), fresh("hello")
    hosts = {n: f"/root/{fresh(f'from{n}')}" for n in (1, 2, 3)}

    # 1. Two containers, each with its volume.
    firsts = {
        name: program.detach("top", name=name, volumes=[(hosts[n], f"/to{n}")]) for n, name in ((1, one), (2, two))
    }

    # 2. `ps` lists both, running.
    rows = {row["NAME"]: row for row in program.rows()}
    for name, first in firsts.items():
        found = [rows.get(name, {}).get(column) for column in ("NAME", "PID", "STATUS", "COMMAND")]
        expect(found, [name, str(first), "running", "top"], f"the row of {name} in `ps`")

    # 3. Look around in the first one, and write, in the volume and beside it.
    mark = fresh()
    typed = f"ls\necho {mark}\necho {hello} >> to1/test1.txt\nmkdir to1-1\necho {inner} >> to1-1/test1.txt\nexit\n"
    done = program.exec(one, "sh", stdin=typed.encode())
    expect_end(done)
    expect(mark in done.out, True, "does the shell in `exec` execute what is typed?")
    expect_all(done.out.split(), [*ROOT_DIRECTORIES, "to1"], f"what `ls` prints in {one}")
    expect(visible(world.proc(firsts[one]) / "root"), {*ROOT_DIRECTORIES, "to1", "to1-1"}, f"the root of {one}")

    # 4. The write layers: the volume is only a mount point there.
    layer = tree(program.layer(one))
    expect_all(layer, ["to1/", "to1-1/", "to1-1/test1.txt"], f"the write layer of {one}")
    means = "The volume is mounted over the view; what is written there must not go to the layer below."
    expect("to1/test1.txt" in layer, False, f"is the volume's file in the write layer of {one}?", means)
    expect(tree(program.layer(two)), {"to2/"}, f"the write layer of {two}", "Each container has a layer of its own.")

    # 5. The host has the volume's file.
    expect(content(world.path(hosts[1]) / "test1.txt"), f"{hello}\n", f"{hosts[1]}/test1.txt on the host")
    expect(tree(world.path(hosts[2])), set(), f"{hosts[2]} on the host")

    # 6. An image of the first one.
    tarball = program.subject.place("tarball", image=image)
    expect(program.tarball(image).exists(), False, f"is {tarball} there beforehand?")
    done = program.commit(one, image)
    expect_end(done)
    expect(done.out, f"{tarball}\n", "what `commit` prints on standard output")
    packed = read(program.tarball(image), tarball)
    top = {name for name in packed if "/" not in name and not name.startswith(".")}
    expect(top, {*ROOT_DIRECTORIES, "to1", "to1-1"}, f"the top of {tarball}")
    expect(packed.get("to1-1/test1.txt"), f"{inner}\n".encode(), f"to1-1/test1.txt in {tarball}")
    means = "The view has to be packed as the host sees it, with the volume mounted there."
    expect(packed.get("to1/test1.txt"), f"{hello}\n".encode(), f"to1/test1.txt, the volume's, in {tarball}", means)

    # 7. A container from that image.
    third = program.detach("top", name=three, image=image, volumes=[(hosts[3], "/to3")])
    there = {*ROOT_DIRECTORIES, "to1", "to1-1", "to3"}
    expect(visible(world.proc(third) / "root"), there, f"the root of {three}, made from {image}")
    for file, text in (("to1/test1.txt", hello), ("to1-1/test1.txt", inner)):
        expect(program.exec(three, "cat", f"/{file}").out, f"{text}\n", f"/{file} in {three}")

    # 8. The first one is stopped and removed; its layer and mount point go, the others' stay.
    expect_refused(program.rm(one), "A running container must not be removed: its files are in use.")
    expect(exists(world, firsts[one]), True, "does the container still run?")
    for place in ("layer", "view"):
        expect(world.path(program.subject.place(place, name=one)).is_dir(), True, f"is its {place} still there?")
    expect_end(program.stop(one))
    expect_end(program.rm(one))
    gone = [p for p in ("layer", "view") if os.path.lexists(world.path(program.subject.place(p, name=one)))]
    expect_none(gone, f"what is still there of {one} after `rm`")
    mounted = set(targets(world))
    views = [program.subject.place("view", name=name) for name in (one, two, three)]
    expect([view in mounted for view in views], [False, True, True], "which of the three views are mounted")
    expect_all(visible(program.layer(two)), ["to2"], f"the write layer of {two}")
    expect({row["NAME"] for row in program.rows()}, {two, three}, "NAME in `ps`")
    expect(content(world.path(hosts[1]) / "test1.txt"), f"{hello}\n", f"{hosts[1]}/test1.txt on the host")
