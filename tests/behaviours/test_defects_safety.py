"""Known defects of other implementations, 1 to 7: what lets a command, a name or a volume reach the host."""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from harness.expect import (
    Mismatch,
    expect,
    expect_all,
    expect_end,
    expect_none,
    expect_not_run,
    expect_refused,
    expect_soon,
)
from harness.program import Program, fresh, long_sleep
from harness.protection import read_only
from harness.running import Running
from harness.tables import content, descriptors, environment, exists, targets, tree
from harness.world import World

# Names that are paths. With the tutorial's places they lead to the world's /root and /var; else the machine is protected.
ODD_NAMES = ("..", ".", "../../var/odd", "odd/name", "")
HOLDING = (
    "sh",
    "-c",
    'exec 7<"$0" && exec "$@"',
)  # what follows is a file and a command, which gets the file as descriptor 7


# --- 1: exec ---


def refused_exec(program: Program, world: World, living: str, name: str) -> None:
    """The command runs in the container `living`; for `name` it is refused, and nothing is executed."""
    token = fresh()
    command = ("sh", "-c", f"echo {token}; echo >/root/{token}")
    expect(token in program.exec(living, *command).out, True, "does `exec` execute it in a container that runs?")
    expect(world.path(f"/root/{token}").exists(), False, f"is /root/{token} on the host after that?")
    if name == living:
        expect_end(program.stop(name))
    done = program.exec(name, *command)
    means = (
        "Who is not there can't be joined. Look first whether the container's process lives; and when setns or the "
        "opening of /proc/PID/ns fails, the child has to end: whatever it executes then, it executes on the host."
    )
    expect(world.path(f"/root/{token}").exists(), False, f"is /root/{token} on the host: did it run there?", means)
    expect_not_run(done, token, means)


@pytest.mark.behaviour("F1", since="5.4")
@pytest.mark.parametrize("which", ["unknown", "ended"])
def test_exec_into_none(program: Program, world: World, which: str) -> None:
    """F1: exec into an unknown container, or one that has ended, is refused, and nothing runs on the host."""
    living, other = fresh("bird"), fresh("bird")
    program.detach(*long_sleep(), name=living)
    if which == "ended":
        first = program.detach(*long_sleep(), name=other)
        program.kill(first)
        expect_soon(lambda: exists(world, first), False, "is there /proc/PID of the one that was ended?")
    refused_exec(program, world, living, other)


@pytest.mark.behaviour("F1", since="5.5")
def test_exec_into_stopped(program: Program, world: World) -> None:
    """F1: exec into a stopped container is refused, and nothing runs on the host."""
    name = fresh("bird")
    program.detach(*long_sleep(), name=name)
    refused_exec(program, world, name, name)


# --- 2: pivot_root ---


@pytest.mark.behaviour("F2", since="5.7")
@pytest.mark.parametrize("what", ["file", "directory"])
def test_image_with_pivot_root(program: Program, world: World, what: str) -> None:
    """F2: an image that holds /.pivot_root runs in its own root, or is refused; nothing runs on the host."""
    mark, token = fresh(), fresh()
    plain, odd = fresh("image"), fresh("image")
    program.make_image(plain, {"mark": mark})
    program.make_image(odd, {"mark": mark, ".pivot_root" if what == "file" else ".pivot_root/file": ""})
    command = ("sh", "-c", f"cat /mark; echo >/root/{token}")
    done = program.run(*command, image=plain)
    expect(done.out, mark, "what it reads in an image without /.pivot_root")
    done = program.run(*command, image=odd)
    means = (
        "When pivot_root fails the process still has the host's root: it has to end there. "
        "pivot_root(2) tells how it's done without a directory for the old root."
    )
    expect(world.path(f"/root/{token}").exists(), False, f"is /root/{token} on the host: did it run there?", means)
    if done.code == 0:
        expect(done.out, mark, "what it reads in the image with /.pivot_root", means)
    else:
        expect_not_run(done, mark, means)


# --- 3: names ---


class Surroundings:
    """What lies around the directories in which names live: it is to stay as it is, and nothing is to come to it.

    An engine's own directories are left out: it has locks, caches and lists in them, and its container that waits.
    """

    def __init__(self, program: Program, world: World) -> None:
        self.world = world
        self.own = tuple(program.subject.engine.keeps.split()) if program.subject.engine else ()
        for place in ("/root", "/var", "/var/run"):
            witness = f"{place}/{fresh('witness')}"
            program.volumes.add(witness)  # ours, and to stay
            world.path(f"{witness}/deep").mkdir(parents=True)
            world.path(f"{witness}/deep/file").touch()
        self.before = self.now()

    def now(self) -> set[str]:
        """All paths in the world's /root and /var; /var/run is a link."""
        places = ("/root", "/var", "/var/run")
        every = {f"{place}/{path}" for place in places for path in tree(self.world.path(place))}
        return {path for path in every if not path.startswith(self.own)}

    def unchanged(self, means: str) -> None:
        """Nothing has come or gone.  Raises Mismatch."""
        now = self.now()
        expect_none(sorted(self.before - now)[:5], "what is gone from /root and /var", means)
        expect_none(sorted(now - self.before)[:5], "what is new in /root and /var", means)


LEADS_OUT = (
    "The name {!r} becomes part of paths, and leads elsewhere there: allow letters, digits, `_`, `.` and `-` only, "
    "and a letter or digit first."
)


@pytest.mark.behaviour("F3", since="5.2")
def test_container_names(program: Program, world: World) -> None:
    """F3: a container's name that is a path is refused, and nothing is made, emptied or changed anywhere."""
    token = fresh()
    done = program.run("echo", token, name=fresh("bird"))
    expect(done.out, f"{token}\n", "what a container with an ordinary name prints")
    around = Surroundings(program, world)
    with read_only(world):
        for name in ODD_NAMES:
            done = program.run("echo", token, name=name)
            around.unchanged(LEADS_OUT.format(name))
            expect_not_run(done, token, LEADS_OUT.format(name))


@pytest.mark.behaviour("F3", since="4.4")
def test_commit_targets(program: Program, world: World) -> None:
    """F3: a new image's name that is a path is refused by `commit`, and nothing is made or changed anywhere."""
    name, image = program.new_name(), fresh("image")
    program.stay(name=name)
    expect_end(program.commit(name or "", image))
    expect(program.tarball(image).exists(), True, "is there the tar of an image with an ordinary name?")
    around = Surroundings(program, world)
    with read_only(world):
        for odd in ODD_NAMES:
            done = program.commit(name or "", odd)
            around.unchanged(LEADS_OUT.format(odd))
            expect_refused(done, LEADS_OUT.format(odd))


@pytest.mark.behaviour("F3", since="5.7")
def test_image_names(program: Program, world: World) -> None:
    """F3: an image's name that is a path is refused by `run`, and nothing is made or changed anywhere."""
    token = fresh()
    done = program.run("echo", token)
    expect(done.out, f"{token}\n", "what a container of an ordinary image prints")
    around = Surroundings(program, world)
    with read_only(world):
        for image in ODD_NAMES:
            done = program.run("echo", token, image=image)
            around.unchanged(LEADS_OUT.format(image))
            expect_not_run(done, token, LEADS_OUT.format(image))


@pytest.mark.behaviour("F3", since="5.6")
def test_names_to_remove(program: Program, world: World) -> None:
    """F3: `stop` and `rm` of a name that is a path are refused, and nothing is removed or changed anywhere."""
    name = fresh("bird")
    program.detach(*long_sleep(), name=name)
    expect_end(program.stop(name))
    expect(program.there("record", name=name), True, "is there the record of the one that is to be removed?")
    around = Surroundings(program, world)
    with read_only(world):
        for odd in ODD_NAMES:
            for done in (program.stop(odd), program.rm(odd)):
                around.unchanged(LEADS_OUT.format(odd))
                expect_refused(done, LEADS_OUT.format(odd))
    expect_end(program.rm(name))
    expect(program.there("record", name=name), False, "is there the record after `rm`?")


# --- 4: where volumes are mounted ---

OUT = "/".join([".."] * 20)  # to the root, from as deep as a container's root may be


def stays_inside(program: Program, world: World, victim: str, inside: str, **how: object) -> None:
    """A volume at `inside`, which leads to the directory `victim` of the host's, is not mounted there."""
    host, text = f"/root/{fresh('from')}", fresh()
    for directory in (host, victim):
        program.volumes.add(directory)  # ours, and to stay
        world.path(directory).mkdir()
    (world.path(victim) / "file").write_text(text)
    running, first = program.stay(volumes=[(host, "/good")])
    expect("/good" in targets(world, first), True, "is a volume at /good a mount in the container's mountinfo?")
    program.end(running)
    command = long_sleep()
    running = program.begin(*command, volumes=[(host, inside)], **how)  # type: ignore[arg-type]
    with suppress(Mismatch):  # it may be refused
        program.appeared(*command, runtime=running)
    means = (
        "The path leads out of the container's root, so the mount lands on the host. Refuse `..`, and follow links inside "
        "the root only, as openat2(2) does with RESOLVE_IN_ROOT; or mount when the root has been changed already."
    )
    expect(victim in targets(world), False, f"is the host's {victim} a mount now?", means)
    expect(tree(world.path(victim)), {"file"}, f"what is in the host's {victim}", means)
    if running.ended():
        expect_refused(running.wait(), means)
    program.end(running)
    expect(content(world.path(victim) / "file"), text, f"{victim}/file on the host, afterwards", means)


@pytest.mark.behaviour("F4", since="4.3")
def test_volume_with_dots(program: Program, world: World) -> None:
    """F4: a volume whose path in the container has `..` is refused or mounted inside, never on the host."""
    name, victim = program.new_name(), f"/root/{fresh('victim')}"
    stays_inside(program, world, victim, f"/{OUT}{victim}", name=name)


@pytest.mark.behaviour("F4", since="5.7")
@pytest.mark.parametrize("kind", ["absolute", "relative"])
def test_volume_through_link(program: Program, world: World, kind: str) -> None:
    """F4: a volume whose path in the container is a link of the image is refused or mounted inside, never on the host."""
    name, image, victim = fresh("bird"), fresh("image"), f"/root/{fresh('victim')}"
    program.make_image(image, links={"link": victim if kind == "absolute" else f"{OUT}{victim}"})
    stays_inside(program, world, victim, "/link", name=name, image=image)


# --- 5: the environment ---

LEAKED = "execve was given the caller's environment: give it one that is made anew, with PATH and HOME."


@pytest.mark.behaviour("F5", since="3.1")
def test_environment_leak(program: Program, world: World) -> None:
    """F5: the host's environment does not come along."""
    secret = f"SECRET={fresh()}"
    running, first = program.stay(through=("env", secret))
    expect_all(environment(world, running.pid), [secret], "/proc/PID/environ of the program itself")
    found = environment(world, first) & {secret}
    expect_none(found, "what of it is in /proc/PID/environ of the container's first process", LEAKED)


@pytest.mark.behaviour("F5", since="5.4")
def test_environment_leak_in_exec(program: Program, world: World) -> None:
    """F5: the host's environment does not come along in `exec` either."""
    name, secret = fresh("bird"), f"SECRET={fresh()}"
    program.detach(*long_sleep(), name=name)
    process = program.stay_in(name, through=("env", secret))
    expect(exists(world, process), True, "is there /proc/PID of its command?")
    found = environment(world, process) & {secret}
    expect_none(found, "what of it is in /proc/PID/environ of the command in `exec`", LEAKED)


# --- 6: descriptors, host name, /dev/null ---


def held_file(program: Program, world: World) -> tuple[str, ...]:
    """Words that start a command with a file of the host's as its descriptor 7."""
    file = f"/root/{fresh('file')}"
    program.volumes.add(file)  # ours, and to stay
    world.path(file).touch()
    seen = world.run([*HOLDING, file, "readlink", "/proc/self/fd/7"]).out
    expect(seen, f"{file}\n", "descriptor 7 of a command that is started so")
    return (*HOLDING, file)


def only_standard(world: World, pid: int, where: str) -> None:
    """The process has its standard streams open, and nothing else."""
    found = descriptors(world, pid)
    expect(1 in found, True, f"is 1, the standard output, in {where}?")
    more = [f"{number} -> {file}" for number, file in sorted(found.items()) if number > 2]
    means = "Descriptors stay open through execve unless close-on-exec is set: close all above 2 first, with close_range(2)."
    expect_none(more, f"what is in {where} beside 0, 1 and 2", means)


@pytest.mark.behaviour("F6", since="3.1")
def test_descriptors(program: Program, world: World) -> None:
    """F6: no descriptor that the caller had open is open in the container."""
    _, first = program.stay(through=held_file(program, world))
    only_standard(world, first, "/proc/PID/fd of the container's first process")


@pytest.mark.behaviour("F6", since="5.4")
def test_descriptors_in_exec(program: Program, world: World) -> None:
    """F6: no descriptor that the caller had open is open in `exec`."""
    name = fresh("bird")
    program.detach(*long_sleep(), name=name)
    process = program.stay_in(name, through=held_file(program, world))
    only_standard(world, process, "/proc/PID/fd of the command in `exec`")


@pytest.mark.behaviour("F6", since="3.1")
def test_host_name(program: Program) -> None:
    """F6: the container has a host name of its own, and the host keeps its."""
    token, host = fresh(), os.uname().nodename
    done = program.run("sh", "-c", f"echo {token}=$(uname -n)")
    after = os.uname().nodename
    if after != host:
        socket.sethostname(host)  # the machine's: the world has no other
    means = "sethostname was called on the host: first comes the new uts namespace."
    expect(after, host, "the host's own name afterwards", means)
    name, _, found = done.out.strip().partition("=")
    expect(name, token, "did the command run?")
    means = "A new uts namespace begins as a copy, with the host's name: call sethostname in it."
    expect(found not in ("", host), True, f"has it another name than the host? It has {found!r}", means)


def device(path: Path) -> str:
    """A device as mknod takes it; empty when it is none."""
    there = path.lstat() if os.path.lexists(path) else None
    if not there or not stat.S_ISCHR(there.st_mode):
        return ""
    return f"c {os.major(there.st_rdev)} {os.minor(there.st_rdev)}"


@pytest.mark.behaviour("F6", since="4.1")
def test_null(program: Program, world: World) -> None:
    """F6: /dev/null is the device, and swallows what is written to it."""
    _, first = program.stay()
    means = "The tmpfs on /dev is empty at first: make the device in it, with mknod c 1 3, or bind the host's."
    expect(device(world.proc(first) / "root/dev/null"), "c 1 3", "the container's /dev/null", means)
    token = fresh()
    done = program.run("sh", "-c", f"echo gone >/dev/null && cat /dev/null && echo {token}")
    means = "A file system mounted with nodev has devices that nobody can open."
    expect(done.out, f"{token}\n", "what `echo gone >/dev/null && cat /dev/null && echo …` prints", means)


# --- 7: a failed umount ---

DELETED = (
    "The umount failed, since somebody works in there, and then the directory was deleted, through the mount. "
    "Stop at a failed umount, and remove mount points by rmdir only, which never takes a full directory."
)


def filled(program: Program, world: World) -> tuple[str, Path]:
    """A directory of the host's with something in it: its name, and where it is for us."""
    host = f"/root/{fresh('from')}"
    directory = world.path(host)
    program.volumes.add(host)  # ours, and to stay
    (directory / "deep").mkdir(parents=True)
    (directory / "deep" / "file").write_text(host)
    return host, directory


def hold(program: Program, world: World, place: str) -> Running | None:
    """Somebody on the host whose working directory is `place`; None when that is no mount on the host's side."""
    if place not in targets(world):
        return None
    holder = world.start(list(long_sleep()), cwd=place)
    seen = os.readlink(world.proc(holder.pid) / "cwd")
    expect(seen, place, "/proc/PID/cwd of one who works in the container's view of the volume")
    return holder


def kept(directory: Path, host: str, holder: Running | None) -> None:
    """The host's data is all there; then the holder lets go."""
    expect(tree(directory), {"deep/", "deep/file"}, f"what is in the host's {host}", DELETED)
    expect(content(directory / "deep" / "file"), host, f"{host}/deep/file on the host", DELETED)
    if holder:
        holder.signal(9)
        holder.wait()


@pytest.mark.behaviour("F7", since="4.3")
def test_busy_volume(program: Program, world: World) -> None:
    """F7: a volume that is in use when its container ends keeps the host's data."""
    name, (host, directory) = program.new_name(), filled(program, world)
    running, first = program.stay(name=name, volumes=[(host, "/to")])
    expect(tree(world.proc(first) / "root/to"), {"deep/", "deep/file"}, "what is in /to in the container")
    seen = program.there("view", name=name or "")
    holder = hold(program, world, program.place("view", name=name or "") + "/to") if seen else None
    program.end(running)
    kept(directory, host, holder)
    if name:
        program.detached.append(name)  # it may be there still, and takes an `rm`
    else:
        program.run("true")  # which may first take away what the one before could not


@pytest.mark.behaviour("F7", since="5.6")
def test_busy_volume_rm(program: Program, world: World) -> None:
    """F7: a volume that is in use at its container's `rm` keeps the host's data."""
    name, (host, directory) = fresh("bird"), filled(program, world)
    first = program.detach(*long_sleep(), name=name, volumes=[(host, "/to")])
    expect(tree(world.proc(first) / "root/to"), {"deep/", "deep/file"}, "what is in /to in the container")
    view = program.place("view", name=name)
    expect_end(program.stop(name))
    holder = hold(program, world, f"{view}/to")
    program.rm(name)
    kept(directory, host, holder)
