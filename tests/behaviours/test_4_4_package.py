"""4.4  The merged view, packed as a tar, is an image again: `commit IMAGE`."""

from contextlib import suppress
from pathlib import Path

import pytest

from harness.busybox import ROOT_DIRECTORIES
from harness.expect import expect, expect_all, expect_end, expect_none, expect_soon
from harness.program import Program, eventually, fresh, long_sleep
from harness.tables import content, targets, visible
from harness.tars import read
from harness.world import World

BALLAST = "dd if=/dev/zero of=/ballast bs=1048576 count=32 2>/dev/null"  # so that packing takes a while


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
    view, tarball = program.place("view", name=""), program.place("tarball", image=image)
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
    expect_soon(
        lambda: visible(world.path("/root")), before | {f"{image}.tar"}, "what is in /root when the shell has exited"
    )


@pytest.mark.behaviour("D11", since="4.4")
def test_commit_of_one_moment(program: Program, world: World) -> None:
    """D11: the image shows one moment: the container stands still meanwhile, and goes on afterwards.

    It adds a line to one file and then to another one, all the time, so at any moment the first has as many or one more.
    """
    image, early, late = fresh("moment"), fresh("a"), fresh("z")
    script = f"{BALLAST}; while :; do echo >>/{early}; echo >>/{late}; done"
    name, first = begun(program, "sh", "-c", script)
    written = world.proc(first) / "root" / late
    expect_soon(lambda: len(content(written)) > 2, True, "does the container write?")
    expect_end(program.commit(name, image))
    packed = read(program.tarball(image), program.subject.place("tarball", image=image))
    lines = [len(packed.get(file, b"")) for file in (early, late)]
    expect(lines[1] > 2, True, "are both files in the image?")
    means = "The container has to be paused while it is packed, by its freezer cgroup: else a pair of files is torn."
    where = f"do the files, of {lines[0]} and {lines[1]} lines, belong together?"
    expect(lines[0] - lines[1] in (0, 1), True, where, means)
    before = len(content(written))
    means = "It has to be thawed again, whatever happens to `commit`."
    expect_soon(lambda: len(content(written)) > before, True, "does the container go on after `commit`?", means)


@pytest.mark.behaviour("D11", since="4.4")
def test_commit_all_at_once(program: Program) -> None:
    """D11: an image that replaces another one is there at once: nobody sees it in part, or sees none."""
    image, command = fresh("whole"), long_sleep()
    name, _ = begun(program, "sh", "-c", f"{BALLAST}; exec {' '.join(command)}", becomes=command)
    expect_end(program.commit(name, image))
    tarball, seen = program.tarball(image), set()
    before = seen_as(tarball)
    runtime = program.begin_commit(name, image)
    while not runtime.ended():
        seen.add(seen_as(tarball))
    expect_end(runtime.wait())
    means = "Write it under another name in the same file system, and then rename it: rename(2) replaces in one moment."
    where = f"what else {program.subject.place('tarball', image=image)} was meanwhile"
    expect_none(sorted(seen - {before, seen_as(tarball)}), where, means)


def begun(program: Program, *command: str, becomes: tuple[str, ...] = ()) -> tuple[str, int]:
    """The name, where one can be given, and the PID 1 of a container that runs."""
    name = program.new_name()
    runtime = program.begin(*command, name=name)
    return name or "", program.appeared(*(becomes or command), runtime=runtime)


def seen_as(file: Path) -> str:
    """What there is of a file: its inode number and size."""
    with suppress(OSError):
        status = file.stat()
        return f"inode {status.st_ino} of {status.st_size} bytes"
    return "nothing"
