"""4.1  An image becomes the container's root: pivot_root, then /proc and a tmpfs on /dev."""

import pytest

from harness.busybox import ROOT_DIRECTORIES
from harness.expect import expect, expect_all, expect_end, expect_none
from harness.program import Program, fresh, long_sleep
from harness.tables import content, mounts, visible
from harness.world import World

OLD_ROOT = (
    "After pivot_root the old root is mounted below the new one: umount it with MNT_DETACH and remove its directory."
)


def begun(program: Program) -> int:
    """The PID 1 of a container that stays."""
    command = long_sleep()
    return program.appeared(*command, runtime=program.begin(*command))


@pytest.mark.behaviour("D7", since="4.1")
def test_root(program: Program, world: World) -> None:
    """D7: `/` holds bin dev etc home proc root sys tmp usr var."""
    done = program.run("ls", "/")
    expect_end(done)
    means = "The image's directory has to become the root: bind it onto itself, pivot_root into it, chdir to /."
    expect(set(done.out.split()), set(ROOT_DIRECTORIES), "what `ls /` prints in the container", means)
    first = begun(program)
    expect(visible(world.proc(first) / "root"), set(ROOT_DIRECTORIES), "/proc/PID/root", means)


@pytest.mark.behaviour("D7", since="4.1")
def test_root_of_the_namespace(program: Program, world: World) -> None:
    """D7: it is the root of the container's mount namespace, too: the host's files are not hidden but gone."""
    words = ["nsenter", "-t", str(begun(program)), "-m", "ls", "/"]
    done = world.run(words)
    program.history.append((words, done))
    means = "chroot only changes where names start, for one process: whoever joins the namespace is on the host's root again."
    expect(set(done.out.split()), set(ROOT_DIRECTORIES), "what `ls /` prints in the container's mount namespace", means)


@pytest.mark.behaviour("D7", since="4.1", until="4.3")
def test_three_mounts(program: Program, world: World) -> None:
    """D7: `mount` shows the root, proc on /proc, tmpfs on /dev and nothing else (to the letter)."""
    first = begun(program)
    found = [place if place == "/" else f"{place} ({kind})" for place, kind in mounts(world, first)]
    expect(found, ["/", "/proc (proc)", "/dev (tmpfs)"], "the container's mountinfo", OLD_ROOT)
    done = program.run("mount")
    expect_end(done)
    shown = [line.split() for line in done.out.splitlines()]
    places = [line[2] for line in shown if len(line) > 4 and line[1] == "on"]
    expect(places, ["/", "/proc", "/dev"], "what `mount` shows in the container", OLD_ROOT)


@pytest.mark.behaviour("D7", since="4.3")
def test_later_mounts(program: Program, world: World) -> None:
    """D7: the same three mounts, and others only below /dev and /proc (later chapters)."""
    found = mounts(world, begun(program))
    names = [f"{place} ({kind})" for place, kind in found]
    expect([place for place, _ in found[:1]], ["/"], "the first line of the container's mountinfo", OLD_ROOT)
    expect_all(names, ["/proc (proc)", "/dev (tmpfs)"], "the container's mountinfo")
    odd = [name for name in names[1:] if not name.startswith(("/proc ", "/proc/", "/dev ", "/dev/"))]
    expect_none(odd, "what else is in the container's mountinfo", OLD_ROOT)


@pytest.mark.behaviour("D8", since="4.1", until="4.2")
def test_writes_land_in_the_image(program: Program) -> None:
    """D8: what the container writes lands in the image directory."""
    name, text = fresh(), fresh()
    file = program.image() / "tmp" / name
    expect(file.exists(), False, "is the file in the image beforehand?")
    expect_end(program.run("sh", "-c", f"echo {text} >/tmp/{name}"))
    expect(content(file), f"{text}\n", f"{program.place('image', image='busybox')}/tmp/{name}")
    done = program.run("cat", f"/tmp/{name}")
    expect(done.out, f"{text}\n", "what the next container reads there")
