"""5.4  A second command joins the namespaces of a container that runs."""

import pytest

from tests.chapters.conftest import (
    Chapter,
    Terminal,
    chapters,
    command_line,
    eventually,
    fresh,
    is_gone,
)


@chapters("5.4")
def test_exec_reads_the_callers_input_also_where_that_is_no_terminal(chapter: Chapter) -> None:
    """With `-ti` or without it; and `-ti` behind the command is the command's."""
    name, typed = fresh("bird"), fresh()
    chapter.detach(["top"], name=name)
    assert chapter("exec", name, "cat", stdin=typed).out == typed
    assert chapter("exec", "-ti", name, "sh", "-c", "cat; echo $0", "-ti", stdin=typed).out == f"{typed}-ti\n"


@chapters("5.4", "5.8")
@pytest.mark.parametrize("options", [[], ["-ti"]])
def test_exec_of_a_shell_at_a_terminal(chapter: Chapter, options: list[str]) -> None:
    """`exec NAME sh` at a real terminal: Ctrl-C ends the shell's command, the shell goes on, and the terminal comes back."""
    name, marker = fresh("bird"), fresh()
    first = chapter.detach(["top"], name=name)
    with Terminal(chapter, ["exec", *options, name, "sh", "-i"]) as terminal:
        terminal.type(f"echo {marker}-$((40 + 2)); sleep 1000\n")
        terminal.await_text(f"{marker}-42")
        eventually(lambda: terminal.foreground > 0 and command_line(terminal.foreground) == ["sleep", "1000"])
        terminal.type("\x03")
        terminal.type(f"echo {marker}-$?; exit 6\n")
        terminal.await_text(f"{marker}-130")
        assert terminal.await_end() == 6
        assert terminal.foreground == terminal.leader.pid
    assert not is_gone(first), "the container goes on"
