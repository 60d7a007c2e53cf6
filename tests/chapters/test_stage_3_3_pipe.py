"""3.3  The container waits at a pipe: its command comes through it when its limits are set."""

import os

import pytest

from tests.chapters.conftest import Chapter, command_line, first_process, fresh, holds

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
    os.fsdecode(b"\xff\xfe not UTF-8"),
    "\x01\x7f control",
    '{"json": [1, "2"]}',
]


@holds("3.3")
def test_odd_arguments_arrive_as_they_were_typed(chapter: Chapter) -> None:
    """D6: blanks, quotes, newlines, shell signs, our own flags, bytes that are no UTF-8: word by word as typed, for the kernel too."""
    words = ["sh", "-c", 'printf "%s\\0" "$@"', fresh(), *ODD, fresh()]
    done = chapter.run([], words)
    assert done.code == 0, done
    assert done.out.split("\0")[:-1] == words[4:]


@pytest.mark.parametrize("chapter", ["3.3", "5.7"], indirect=True)
def test_the_kernel_shows_the_words_as_typed(chapter: Chapter) -> None:
    """D6: /proc/PID/cmdline of the container's PID 1 is the command, word by word."""
    words = ["sh", "-c", "sleep 1000; true", *ODD, fresh()]
    first = first_process(chapter.begin([], words), "sh")
    assert command_line(first) == words


@holds("3.3")
def test_arguments_of_any_length_arrive(chapter: Chapter) -> None:
    """D6: one word of 120 000 letters and 3000 short ones (the pipe holds 65 536 bytes at a time) arrive whole."""
    long, many = fresh() * 7500, [fresh() for _ in range(3000)]
    done = chapter.run([], ["sh", "-c", 'printf "%s\\n" "$@"', "sh", long, *many])
    assert done.code == 0, done
    assert done.lines == [long, *many]


@holds("3.3")
def test_the_first_instruction_is_already_inside_the_limits(chapter: Chapter) -> None:
    """D4 from 3.3 on: a command that looks at once finds itself in its groups, every time: nothing runs before that."""
    for _ in range(4):
        done = chapter.run(["-m", "100m"], ["cat", "/proc/self/cgroup"])
        groups = [line.split(":", 2) for line in done.lines]
        inside = [path for _, controllers, path in groups if controllers in ("", "memory") and "/zocker/" in path]
        expected = [path for _, controllers, path in groups if controllers in ("", "memory")]
        assert inside == expected and inside, done


@pytest.mark.parametrize("chapter", ["3.3", "4.3", "5.7", "5.8"], indirect=True)
def test_the_users_own_flags_are_not_taken(chapter: Chapter) -> None:
    """D6: what stands behind the command is the command's, also if it looks like an option of `run`."""
    done = chapter.run([], ["echo", "-m", "1", "-ti", "--name", "x", "-nosuch"])
    assert (done.code, done.out) == (0, "-m 1 -ti --name x -nosuch\n")


@pytest.mark.parametrize("chapter", ["3.3", "5.8"], indirect=True)
def test_before_its_command_the_process_ends_with_the_runtime(chapter: Chapter) -> None:
    """End of file at the pipe means exit and never go: without a runtime nothing is executed."""
    runtime = chapter.begin([], ["sleep", "1000"])
    first = first_process(runtime, "sleep")
    assert not [fd for fd in os.listdir(f"/proc/{first}/fd") if int(fd) > 2], (
        "no end of any pipe is left to the command"
    )


@pytest.mark.parametrize("chapter", ["3.3", "5.8"], indirect=True)
def test_v_shows_the_steps_in_the_order_in_which_they_are_done(chapter: Chapter) -> None:
    """The command is executed when its limits are set, and that is what `-v` says too."""
    done = chapter("-v", *chapter.words(["-m", "100m"], ["true"]))
    shown = done.err.splitlines()
    joins = [number for number, line in enumerate(shown) if line.endswith("/cgroup.procs")]
    (executes,) = (number for number, line in enumerate(shown) if "exec env -i " in line)
    assert joins and max(joins) < executes, done
