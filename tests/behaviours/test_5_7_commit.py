"""5.7  Any image, by name; a layer and a mount for each container; and an image from each: `commit CONTAINER IMAGE`."""

import os

import pytest

from harness.busybox import ROOT_DIRECTORIES
from harness.expect import expect, expect_all, expect_end, expect_refused, expect_soon
from harness.program import Program, fresh, is_first
from harness.tables import content, exists, targets, tree, visible
from harness.tars import read
from harness.world import World


@pytest.mark.behaviour("D9", since="5.7")
def test_layer_outlives(program: Program, world: World) -> None:
    """D9: the write layer is the container's own, outlives a detached one, and goes with `rm`.

    A third container writes nothing: what is in its layer is the runtime's own, and in the others' too.
    """
    names, text, image = [fresh("bird") for _ in range(3)], fresh(), tree(program.image())
    commands = [*(f"echo {text} >/{name}" for name in names[:2]), "true"]
    for name, command in zip(names, commands, strict=True):
        expect_end(program.run("sh", "-c", command, detach=True, name=name))
        expect_soon(lambda: [p.pid for p in world.processes() if is_first(p)], [], "containers that still run")
    one, two, empty = (program.layer(name) for name in names)
    for name, layer in zip(names, (one, two), strict=False):
        where = f"the write layer of {name}"
        expect(tree(layer) - tree(empty), {name}, f"{where} after the container's end, beside what is in an empty one")
        expect(content(layer / name), f"{text}\n", f"{name} in {where}")
    expect(tree(program.image()), image, "the image's directory, with all that is in it")
    expect_end(program.rm(names[0]))
    expect(os.path.lexists(one), False, "is its write layer there after `rm`?")
    expect(content(two / names[1]), f"{text}\n", f"{names[1]} in the other's write layer after that")


class Transcript:
    """The chapter's transcript as far as its `commit`; each check of D20 goes on from there.

    Two containers, each with its volume; in the first one a shell writes, in the volume and beside it.
    """

    def __init__(self, program: Program) -> None:
        self.program, tag = program, fresh("")
        self.one, self.two, self.three = (f"container{n}{tag}" for n in (1, 2, 3))
        self.image, self.hello, self.inner = fresh("image1"), fresh("hello"), fresh("hello")
        self.hosts = {n: f"/root/{fresh(f'from{n}')}" for n in (1, 2, 3)}
        self.firsts = {
            name: program.detach("top", name=name, volumes=[self.volume(n)])
            for n, name in ((1, self.one), (2, self.two))
        }
        mark = fresh()
        typed = f"ls\necho {mark}\necho {self.hello} >> to1/test1.txt\n"
        typed += f"mkdir to1-1\necho {self.inner} >> to1-1/test1.txt\nexit\n"
        done = program.exec(self.one, "sh", stdin=typed.encode())
        expect_end(done)
        expect(mark in done.out, True, "does the shell in `exec` execute what is typed?")
        expect_all(done.out.split(), [*ROOT_DIRECTORIES, "to1"], f"what `ls` prints in {self.one}")

    def volume(self, n: int) -> tuple[str, str]:
        """`/root/fromN:/toN`, where the host has that directory: that a missing one is made is D10."""
        self.program.world.path(self.hosts[n]).mkdir()
        return self.hosts[n], f"/to{n}"

    def root(self, pid: int) -> set[str]:
        """What is in the root directory of a container."""
        return visible(self.program.world.proc(pid) / "root")

    def commit(self) -> dict[str, bytes]:
        """`commit container1 image1`, and what is in the tar then."""
        tarball = self.program.place("tarball", image=self.image)
        expect(self.program.tarball(self.image).exists(), False, f"is {tarball} there beforehand?")
        done = self.program.commit(self.one, self.image)
        expect_end(done)
        expect(done.out, f"{tarball}\n", "what `commit` prints on standard output")
        return read(self.program.tarball(self.image), tarball)

    def third(self) -> int:
        """`run -d --name container3 … image1 top`, and its PID 1."""
        return self.program.detach("top", name=self.three, image=self.image, volumes=[self.volume(3)])


@pytest.mark.behaviour("D20", since="5.7")
def test_two_containers(program: Program, world: World) -> None:
    """D20: two containers, each with its volume; `ps` lists both; what is written in the first one's is on the host."""
    text = Transcript(program)
    rows = {row["NAME"]: row for row in program.rows()}
    for name, first in text.firsts.items():
        found = [rows.get(name, {}).get(column) for column in ("NAME", "PID", "STATUS", "COMMAND")]
        expect(found, [name, str(first), "running", "top"], f"the row of {name} in `ps`")
    expect_all(text.root(text.firsts[text.one]), [*ROOT_DIRECTORIES, "to1", "to1-1"], f"the root of {text.one}")
    expect("to1-1" in text.root(text.firsts[text.two]), False, f"is to1-1 in the root of {text.two}?")
    expect(
        content(world.path(text.hosts[1]) / "test1.txt"), f"{text.hello}\n", f"{text.hosts[1]}/test1.txt on the host"
    )
    expect(tree(world.path(text.hosts[2])), set(), f"{text.hosts[2]} on the host")


@pytest.mark.behaviour("D20", since="5.7")
def test_two_layers(program: Program) -> None:
    """D20: each has a write layer of its own; of a volume there is only the mount point."""
    text = Transcript(program)
    layer = tree(program.layer(text.one))
    expect_all(layer, ["to1/", "to1-1/", "to1-1/test1.txt"], f"the write layer of {text.one}")
    means = "The volume is mounted over the view; what is written there must not go to the layer below."
    expect("to1/test1.txt" in layer, False, f"is the volume's file in the write layer of {text.one}?", means)
    means = (
        "Each container has a layer of its own, and what the runtime needs in the container is not to be left there."
    )
    expect(tree(program.layer(text.two)), {"to2/"}, f"the write layer of {text.two}", means)


@pytest.mark.behaviour("D20", since="5.7")
def test_image_in_a_tar(program: Program) -> None:
    """D20: `commit container1 image1` prints /root/image1.tar, and there is the container's root directory."""
    text = Transcript(program)
    packed = text.commit()
    top = {name for name in packed if "/" not in name and not name.startswith(".")}
    expect_all(top, [*ROOT_DIRECTORIES, "to1", "to1-1"], "the top of the tar")
    expect(top, text.root(text.firsts[text.one]), f"the top of the tar, beside the root of {text.one}")
    expect(packed.get("to1-1/test1.txt"), f"{text.inner}\n".encode(), "to1-1/test1.txt in the tar")


@pytest.mark.behaviour("D20", since="5.7")
def test_container_from_the_image(program: Program) -> None:
    """D20: a third container, from that image, has what was written in the first one."""
    text = Transcript(program)
    before = text.root(text.firsts[text.one])
    text.commit()
    third = text.third()
    expect(text.root(third), before | {"to3"}, f"the root of {text.three}, made from {text.image}")
    done = program.exec(text.three, "cat", "/to1-1/test1.txt")
    expect(done.out, f"{text.inner}\n", f"/to1-1/test1.txt in {text.three}")


@pytest.mark.behaviour("D20", since="5.7")
def test_volume_in_the_image(program: Program) -> None:
    """D20: the volume's file is in the image too, and the third container reads it."""
    text = Transcript(program)
    packed = text.commit()
    means = "The view has to be packed as the host sees it, with the volume mounted there."
    expect(packed.get("to1/test1.txt"), f"{text.hello}\n".encode(), "to1/test1.txt, the volume's, in the tar", means)
    text.third()
    done = program.exec(text.three, "cat", "/to1/test1.txt")
    expect(done.out, f"{text.hello}\n", f"/to1/test1.txt in {text.three}")


@pytest.mark.behaviour("D20", since="5.7")
def test_rm_of_one(program: Program, world: World) -> None:
    """D20: the first one is stopped and removed; its layer and mount point go, the others' stay.

    Two steps of the transcript contradict the program it shows: `rm` refuses a running container, so a `stop` comes first,
    and container3 is still there in the last tree.
    """
    text = Transcript(program)
    text.commit()
    text.third()
    names = (text.one, text.two, text.three)
    views = [program.place("view", name=name) for name in names]
    layers = [program.layer(name) for name in names]
    expect_refused(program.rm(text.one), "A running container must not be removed: its files are in use.")
    expect(exists(world, text.firsts[text.one]), True, "does the container still run?")
    expect([layer.is_dir() for layer in layers], [True] * 3, "which of the three write layers are there beforehand")
    expect([view for view in views if view in targets(world)], views, "which of the three views are mounted beforehand")
    expect_end(program.stop(text.one))
    expect_end(program.rm(text.one))
    expect([os.path.lexists(layer) for layer in layers], [False, True, True], "which of the write layers are there")
    expect([view for view in views if view in targets(world)], views[1:], "which of the three views are mounted")
    expect(os.path.lexists(world.path(views[0])), False, f"is {views[0]} there?")
    expect_all(visible(layers[1]), ["to2"], f"the write layer of {text.two}")
    expect({row["NAME"] for row in program.rows()}, {text.two, text.three}, "NAME in `ps`")
    expect(
        content(world.path(text.hosts[1]) / "test1.txt"), f"{text.hello}\n", f"{text.hosts[1]}/test1.txt on the host"
    )
