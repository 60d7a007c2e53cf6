"""4.4  The merged view, packed as a tar, is an image again: `commit IMAGE`."""

import pytest

from harness.busybox import ROOT_DIRECTORIES
from harness.expect import expect, expect_all, expect_end, expect_soon
from harness.program import Program, eventually, fresh
from harness.tables import targets, visible
from harness.tars import read
from harness.world import World


@pytest.mark.behaviour("D11", since="4.4", until="5.7")
def test_commit(program: Program, world: World) -> None:
    """D11: `commit myimage` names /root/myimage.tar, which holds the root directory.

    As the text shows it: a shell at a terminal, `commit` in a second one; when the shell exits, the layers go.
    """
    image, token, text = fresh("myimage"), fresh(), fresh()
    before = visible(world.path("/root"))
    shell = program.begin("/bin/sh", tty=True, terminal=True)
    shell.type(f"cd / && echo {text} >/root/note && rm /etc/group && echo {token}-$((40 + 2))\n")
    eventually(lambda: f"{token}-42" in shell.screen() or shell.ended())
    expect(f"{token}-42" in shell.screen(), True, "does the shell at the terminal answer?")
    view, tarball = program.subject.place("view", name=""), program.subject.place("tarball", image=image)
    expect_all(targets(world), [view], "where the host has mounts, by its mountinfo")
    expect(program.tarball(image).exists(), False, f"is {tarball} there beforehand?")
    done = program.commit("", image)
    expect_end(done)
    expect(done.out, f"{tarball}\n", "what `commit` prints on standard output")
    packed = read(program.tarball(image), tarball)
    means = "It is the merged view that is to be packed, not one of its layers, and without a directory around it."
    expect({name for name in packed if "/" not in name}, set(ROOT_DIRECTORIES), "the top of the tar", means)
    expect(packed.get("root/note"), f"{text}\n".encode(), "/root/note in the tar", means)
    expect("etc/passwd" in packed, True, "is the image's /etc/passwd in the tar?", means)
    expect("etc/group" in packed, False, "is /etc/group, which was removed, in the tar?", means)
    expect(shell.ended(), False, "has the container ended?")
    shell.type("exit\n")
    expect_end(shell.wait(10))
    expect_soon(lambda: visible(world.path("/root")), before | {f"{image}.tar"}, "/root when the shell has exited")
