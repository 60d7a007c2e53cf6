"""3.1  A container is a process in namespaces of its own; the user's command is its PID 1."""

import os
import signal
import subprocess
import termios
from pathlib import Path

from tests.chapters.conftest import (
    Chapter,
    Terminal,
    chapters,
    command_line,
    first_process,
    fresh,
    is_gone,
    mountinfo,
    sampled,
    status,
    targets,
)
from tests.conftest import eventually


@chapters("4.1", "4.2", "5.7")
def test_from_4_1_on_the_working_directory_is_the_new_root(chapter: Chapter, tmp_path: Path) -> None:
    """D2 holds until 4.1: then the image is the root, and the caller's directory is not in it."""
    runtime = chapter.begin([], ["sleep", "1000"], cwd=tmp_path)
    first = first_process(runtime, "sleep")
    assert os.readlink(f"/proc/{first}/cwd") == "/"
    assert not os.path.exists(f"/proc/{first}/root{tmp_path}")


@chapters("3.1", "4.1", "4.2", "5.7")
def test_where_mounts_are_shared_the_host_sees_none_of_the_containers_while_it_runs(
    chapter: Chapter, shared_world: int
) -> None:
    """D3, where / is shared: the host sees no mount of the container's, nor the container a later one of the host's.

    The union and the volumes are mounted on the host's side on purpose; they are below the root, and gone afterwards.
    """
    before = mountinfo(shared_world)
    chapter.before = ["nsenter", "-t", str(shared_world), "-m"]
    runtime = chapter.begin([], ["sleep", "1000"])
    first = first_process(runtime, "sleep")
    assert "/proc" in targets(first)
    assert not [line for line in mountinfo(first) if " shared:" in line or " master:" in line]
    added = [line for line in mountinfo(shared_world) if line not in before]
    assert [line for line in added if not line.split(" ")[4].startswith(f"{chapter.root}/mnt")] == []
    runtime.terminate()
    runtime.communicate(timeout=10)
    assert mountinfo(shared_world) == before


@chapters("3.1", "5.8")
def test_ti_is_spelled_in_any_way(chapter: Chapter) -> None:
    """`-ti`, `-it` and the two letters apart mean the same: the caller's standard input is passed through."""
    for spelling in (["-ti"], ["-it"], ["-t", "-i"], ["--it"]):
        typed = fresh()
        done = chapter.run(spelling, ["cat"], stdin=typed)
        assert (done.code, done.out) == (0, typed), spelling


@chapters("3.1", "3.3", "5.8")
def test_without_ti_the_callers_input_stays_with_the_caller(chapter: Chapter) -> None:
    """Only `-ti` passes the caller's input through: without it the command reads nothing."""
    done = chapter.run([], ["cat"], stdin=fresh())
    assert (done.code, done.out) == (0, "")


@sampled()
def test_at_a_terminal_the_shell_is_pid_1_and_its_exit_code_comes_back(chapter: Chapter) -> None:
    """`run -ti sh` at a real terminal: the shell there is PID 1, its input, output and errors are the caller's terminal."""
    marker = fresh()
    with Terminal(chapter, chapter.words(["-ti"], ["sh"])) as terminal:
        terminal.type(f"echo {marker}-$$; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo $((40 + 2))-at-a-terminal\n")
        terminal.await_text(f"{marker}-1")
        terminal.await_text("42-at-a-terminal")
        first = terminal.foreground
        assert status(first, "NSpid").split()[-1] == "1"
        assert [os.readlink(f"/proc/{first}/fd/{fd}") for fd in (0, 1, 2)] == [terminal.name] * 3
        terminal.type("exit 7\n")
        assert terminal.await_end() == 7


@chapters("3.1", "3.3")
def test_before_there_is_a_new_root_tty_names_the_callers_terminal(chapter: Chapter) -> None:
    """`tty` in the container prints the caller's terminal, as long as /dev is still the host's."""
    with Terminal(chapter, chapter.words(["-ti"], ["tty"])) as terminal:
        assert terminal.await_end() == 0
        assert terminal.text.splitlines()[0] == terminal.name


@sampled()
def test_ctrl_c_reaches_the_foreground_command_and_not_the_runtime(chapter: Chapter) -> None:
    """Job control at a terminal: Ctrl-C ends the command that the container's shell waits for; shell and runtime go on."""
    marker = fresh()
    with Terminal(chapter, chapter.words(["-ti"], ["sh", "-i"])) as terminal:
        terminal.type("sleep 1000\n")

        def sleeps() -> bool:
            return command_line(terminal.foreground) == ["sleep", "1000"]

        eventually(lambda: terminal.foreground > 0 and sleeps())
        terminal.type("\x03")
        terminal.type(f"echo {marker}-$?\n")
        terminal.await_text(f"{marker}-130")
        terminal.type("exit 9\n")
        assert terminal.await_end() == 9


@sampled()
def test_the_terminal_is_given_back_as_it_was(chapter: Chapter) -> None:
    """After a `-ti` container that changed the terminal's settings, they and the foreground group are the caller's again.

    Also when the command's very first act is to change them: the runtime has to look before there is a command.
    """
    for _ in range(4):
        with Terminal(chapter, chapter.words(["-ti"], ["stty", "raw", "-echo"])) as terminal:
            assert terminal.await_end() == 0
            assert termios.tcgetattr(terminal.master) == terminal.settings
            assert terminal.foreground == terminal.leader.pid
    with Terminal(chapter, chapter.words(["-ti"], ["sh", "-c", "stty raw -echo; read -r _; exit 5"])) as terminal:
        eventually(lambda: termios.tcgetattr(terminal.master) != terminal.settings)
        eventually(lambda: terminal.foreground != terminal.leader.pid)
        terminal.type("\n")
        assert terminal.await_end() == 5
        assert termios.tcgetattr(terminal.master) == terminal.settings
        assert terminal.foreground == terminal.leader.pid


@sampled()
def test_the_container_ends_with_a_killed_runtime(chapter: Chapter) -> None:
    """Nobody waits any more for a foreground container whose runtime was killed: it ends as well."""
    runtime = chapter.begin([], ["sleep", "1000"])
    first = first_process(runtime, "sleep")
    runtime.kill()
    runtime.wait()
    eventually(lambda: is_gone(first))


def test_the_module_is_a_program_too() -> None:
    """`python -m stage_3_1_run --help` tells the chapter's verbs, without anything done."""
    done = subprocess.run(["/usr/bin/python3", "-m", "stage_3_1_run", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "run [-ti] COMMAND" in done.stdout


@sampled()
def test_while_it_waits_no_request_to_end_can_be_lost(chapter: Chapter) -> None:
    """It waits for signals, not for its child: one that came between a look at the child and the waiting would wake nobody."""
    runtime = chapter.begin([], ["sleep", "1000"])
    first_process(runtime, "sleep")
    eventually(lambda: "sigtimedwait" in Path(f"/proc/{runtime.pid}/wchan").read_text())
    runtime.terminate()
    assert runtime.wait(10) == 128 + signal.SIGTERM
