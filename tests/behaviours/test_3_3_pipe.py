"""3.3  The container waits at a pipe: its command comes through it when its limits are set."""

import os
import signal
from functools import partial

import pytest

from harness.expect import expect, expect_end, expect_soon
from harness.program import Program, ancestors, eventually, fresh, long_sleep
from harness.subtree import NAME
from harness.tables import command_line, exists, field, groups, in_a_pipe, limit
from harness.world import World

ODD = [
    "",
    "two words",
    "  blanks around  ",
    "a\nnew line",
    "a\ttab",
    "'single' \"double\" `back`",
    "$HOME $(id) ${PATH} $$ !!",
    "* ? [a-z] ~ {a,b}",
    "back\\slash \\n",
    "; exit 3; #",
    "& | < > ( )",
    "-m",
    "--",
    "--name",
    "-ti",
    "grün 容器 🐳",
    "\x01\x7f control",
    '{"json": [1, "2"]}',
]
FULL = 60_000  # bytes: a pipe holds 65 536
JOINED = "Words that are joined to one line and split again on blanks are not the same words: send them with their lengths, or a NUL."


@pytest.mark.behaviour("D6", since="3.3")
def test_odd_arguments(program: Program) -> None:
    """D6: arguments with special characters arrive as typed."""
    words = [fresh(), *ODD, fresh()]
    done = program.run("printf", "%s\\0", *words)
    expect_end(done)
    expect(done.out.split("\0")[:-1], words, "the command's arguments, as it prints them", JOINED)


@pytest.mark.behaviour("D6", since="3.3")
def test_bytes(program: Program) -> None:
    """D6: arguments arrive byte for byte, also if they are not UTF-8."""
    words = [fresh(), os.fsdecode(b"\xff\xfe not UTF-8"), os.fsdecode(bytes(range(1, 256))), fresh()]
    done = program.run("sh", "-c", 'printf "%s\\0" "$@"', "sh", *words)
    expect_end(done)
    means = "A file name may be any bytes. Text that is decoded and encoded again is not the same if it was not UTF-8."
    expect(done.out.split("\0")[:-1], words, "the command's arguments, as it prints them", means)


@pytest.mark.behaviour("D6", since="3.3")
def test_long_arguments(program: Program) -> None:
    """D6: arguments of any length arrive as typed.

    One word of 120 000 letters and 3000 short ones; a pipe holds 65 536 bytes at a time.
    """
    words = [fresh() * 10_000, *(fresh() for _ in range(3000))]
    done = program.run("printf", "%s\\n", *words)
    means = (
        "A pipe holds 65 536 bytes: the one end has to go on writing and the other go on reading until the end of file."
    )
    expect_end(done, means=means)
    found = done.out.splitlines()
    expect(len(found), len(words), "how many arguments arrived", means)
    expect([len(word) for word in found[:1]], [120_000], "the length of the first argument", means)
    expect(found == words, True, "are all the same?", means)


@pytest.mark.behaviour("D4", since="3.3")
def test_limits_come_first(program: Program, world: World) -> None:
    """D4: from 3.3 on the command is inside its limits from its first instruction.

    It looks at once, four times, and what it saw is the group in which it is limited afterwards.
    """
    for _ in range(4):
        token, command = fresh(), long_sleep()
        script = (
            f'while read -r l; do echo "{token} $l"; done </proc/self/cgroup; echo {token}.; exec {" ".join(command)}'
        )
        runtime = program.begin("sh", "-c", script, memory="100m")
        first = program.appeared(*command, runtime=runtime)
        means = "The limit was not set, or the command is not in the group."
        expect_soon(partial(memory_limit, world, first), "104857600", "the memory limit of the command's cgroup", means)
        eventually(lambda runtime=runtime, token=token: f"{token}." in runtime.out())  # type: ignore[misc]
        seen = [line.removeprefix(f"{token} ").split(":", 2) for line in runtime.out().splitlines() if token in line]
        paths = {
            name: path for _, names, path in (line for line in seen if len(line) == 3) for name in names.split(",")
        }
        own = "memory" if "memory" in paths else ""
        at_first, later = paths.get(own, ""), groups(world, first).get(own, "")
        private = _cgroup_namespace(world, first) != _cgroup_namespace(world, 1)  # then its group is / to it
        means = (
            "It ran before it was in its group: the child has to wait at the pipe until the parent has put it there."
        )
        inside = "/" if private else "/" + later.rpartition(f"/{NAME}")[2].partition("/")[2]
        expect(at_first, inside, "the group in /proc/self/cgroup at the first instruction", means)
        program.end(runtime)


@pytest.mark.behaviour("D4", since="3.3")
def test_no_go_from_the_dead(program: Program, world: World) -> None:
    """D4: the end of the start pipe is no go: when the program is killed before it has sent the command, nothing runs.

    The command is longer than what a pipe holds, and the container's process is stopped as soon as it is seen. So the
    program can't have sent all of it when it is killed.
    """
    if program.subject.engine:
        pytest.skip("another process of the engine's starts the container, not the program that is called")
    program.crashed = True
    command = long_sleep()
    words = ("sh", "-c", f"exec {' '.join(command)}", fresh() * 10_000)
    runtime = program.begin(*words)
    expect(
        command_line(world, program.appeared(*command, runtime=runtime)), list(command), "what runs if all goes well"
    )
    program.end(runtime)
    for _ in range(10):
        if first := _stopped_at_the_pipe(program, world, words):
            break
    else:
        pytest.skip("its process is faster at the pipe than the harness can stop it")
    parents = {process.pid: process.ppid for process in world.processes()}
    for pid in ancestors(first, parents):
        if pid != 1:
            world.signal(pid, signal.SIGKILL)
    eventually(lambda: field(world, first, "PPid") in ("1", ""))
    world.signal(first, signal.SIGCONT)
    means = "Whoever reads 0 bytes from the pipe has to end. If it waits for ever, it has the writing end open itself: close it first."
    expect_soon(
        lambda: exists(world, first), False, "is the container's process there when the program is dead?", means
    )


def _stopped_at_the_pipe(program: Program, world: World, words: tuple[str, ...]) -> int:
    """The first process of a new container, which is stopped and has not read the whole command; 0 when it was too fast."""
    before = program.containers()
    how = {"detach": True} if program.knows("5.1") else {}
    runtime = program.begin(*words, name=program.new_name(), **how)
    while not (new := program.containers() - before) and not runtime.ended():
        pass  # in haste: it is at the pipe soon
    first = next(iter(new), 0)
    world.signal(first, signal.SIGSTOP)
    eventually(lambda: in_a_pipe(world, first) > FULL or runtime.ended(), 2)
    if in_a_pipe(world, first) > FULL:
        return first
    world.signal(first, signal.SIGKILL)
    runtime.wait(10)
    return 0


def memory_limit(world: World, pid: int) -> str:
    """What its cgroup says."""
    return limit(world, pid, "memory", "memory.limit_in_bytes", "memory.max")


def _cgroup_namespace(world: World, pid: int) -> str:
    return os.readlink(world.proc(pid) / "ns" / "cgroup")
