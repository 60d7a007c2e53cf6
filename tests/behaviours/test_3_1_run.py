"""3.1  A container is a process in namespaces of its own; the user's command is its PID 1."""

import os
import signal
from pathlib import Path

import pytest

from harness.expect import expect, expect_all, expect_end, expect_none
from harness.program import Program, fresh, long_sleep
from harness.tables import KINDS, content, field, machine_targets, namespaces, targets
from harness.world import World


@pytest.mark.behaviour("D1", since="3.1")
def test_pid_1(program: Program) -> None:
    """D1: the command sees itself as PID 1, and `ps` inside shows it so.

    `ps` lists it as number 1, and beside it no more than `ps` itself.
    """
    token = fresh()
    ps = "ps -o pid,args" if program.knows("4.1") else "ps -e -o pid,args"  # busybox's; the host's
    done = program.run("sh", "-c", f"echo {token}=$$; {ps}; exit 0", token)
    expect_end(done)
    own = [line for line in done.out.splitlines() if line.startswith(f"{token}=")]
    means = "The command is not the first process of a new pid namespace: clone with CLONE_NEWPID, or unshare and then fork."
    if not own:
        means = "The command was not executed, or its standard output is not that of `run`."
    expect(own, [f"{token}=1"], "what the command says of its own number ($$)", means)
    listed = [line.split(None, 1) for line in done.out.splitlines() if line.strip()[:1].isdigit()]
    means = "`ps` reads /proc: it has to be mounted anew in the container, or the host's is shown, or nothing."
    expect([pid for pid, words in listed if token in words][:1], ["1"], "the command's line in `ps`, its PID", means)
    others = [" ".join(line) for line in listed if line[0] != "1"]
    expect_none(others[1:], "who is in the container's `ps` beside the command and `ps` itself", means)


@pytest.mark.behaviour("D1", since="3.1")
def test_five_namespaces(program: Program, world: World) -> None:
    """D1: it has new uts, pid, mnt, net and ipc namespaces, and the kernel numbers it twice."""
    command = long_sleep()
    runtime = program.begin(*command)
    first = program.appeared(*command, runtime=runtime)
    expect(field(world, first, "NSpid").split(), [str(first), "1"], "NSpid in /proc/PID/status")
    host, own = namespaces(world, 1), namespaces(world, first)
    means = "Each namespace is a flag of its own to clone or unshare: CLONE_NEWUTS, NEWPID, NEWNS, NEWNET, NEWIPC."
    expect({kind for kind in KINDS if own.get(kind) != host[kind]}, set(KINDS), "new ones in /proc/PID/ns", means)
    expect(namespaces(world, runtime.pid), host, "the namespaces of the program itself")


@pytest.mark.behaviour("D1", since="3.1")
def test_signals(program: Program, world: World) -> None:
    """D1: it is started as any new process is: no signal is ignored, none is blocked."""
    command = long_sleep()
    first = program.appeared(*command, runtime=program.begin(*command))
    means = "What is ignored or blocked stays so in execve: Python ignores SIGPIPE, and has to give it back before."
    for key, what in (("SigIgn", "ignores"), ("SigBlk", "blocks")):
        mask = int(field(world, first, key) or "0", 16)
        names = [signal.strsignal(number) or str(number) for number in range(1, 65) if mask >> (number - 1) & 1]
        expect_none(names, f"the signals that the command {what} ({key} in /proc/PID/status)", means)


@pytest.mark.behaviour("D2", since="3.1", until="4.1")
def test_working_directory(program: Program, world: World) -> None:
    """D2: the working directory is still the caller's, for there is no new root yet."""
    here, text = f"/root/{fresh()}", fresh()
    program.volumes.add(here)  # ours, and to stay
    world.path(here).mkdir()
    (world.path(here) / "file").write_text(text)
    done = program.run("sh", "-c", "pwd; cat file; exit 0", cwd=here)
    expect_end(done)
    expect(done.out.splitlines(), [here, text], "what `pwd; cat file` prints in a directory of the caller's")


@pytest.mark.behaviour("D3", since="3.1")
def test_mount_table(program: Program, world: World) -> None:
    """D3: the host's mount table is the same after a run as before.

    The world's / is shared, as on most machines: what the container mounts is seen outside if nothing is done about it.
    A first run is over already: it has run `true`.
    """
    means = "Here / is shared: what is mounted inside is seen outside too. First make it private, `mount --make-rprivate /`."
    expect(*_now_and_at_first(program, world), "the host's /proc/self/mountinfo after a first run", means)
    command = long_sleep()
    runtime = program.begin(*command)
    first = program.appeared(*command, runtime=runtime)
    expect_all(targets(world, first), ["/proc"], "where the container has mounts, by its mountinfo")
    numbers = {line.split(" ")[0] for line in world.mountinfo()}  # the kernel numbers each mount
    shared = [line for line in world.mountinfo(first) if line.split(" ")[0] in numbers]
    expect_none(shared, "the host's own lines in the container's mountinfo", "It has no mount namespace of its own.")
    program.end(runtime)
    expect(*_now_and_at_first(program, world), "the host's /proc/self/mountinfo", means)
    expect(os.path.samefile(world.path("/proc/1"), world.proc(1)), True, "is the host's /proc still its own?", means)
    expect(content(Path(world.path("/proc/1/comm"))), content(world.proc(1) / "comm"), "the host's /proc/1/comm", means)


def _now_and_at_first(program: Program, world: World) -> list[list[str]]:
    """The host's lines, without those that the machine itself has taken away meanwhile: it may go from here a bit later."""
    tables = [world.mountinfo(), program.mounts_first]
    gone = program.machine_first - machine_targets()
    return [[line for line in table if line.split(" ")[4] not in gone] for table in tables]
