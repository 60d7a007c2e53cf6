"""5.4  A second command joins the namespaces of a container that runs."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.chapters.conftest import (
    KINDS,
    Chapter,
    Terminal,
    children,
    command_line,
    eventually,
    fresh,
    group_directory,
    holds,
    is_gone,
    namespaces,
    status,
)


@holds("5.4")
def test_in_exec_pid_1_is_the_containers_command(chapter: Chapter) -> None:
    """D17: in `exec` PID 1 is the container's command, the command itself is another process, and its root is the container's."""
    name, content = fresh("bird"), fresh()
    chapter.detach(["sh", "-c", f"echo {content} >/{content}; exec top"], name=name)
    eventually(lambda: (chapter.view(name) / content).exists())
    done = chapter("exec", name, "sh", "-c", f"tr '\\0' ' ' </proc/1/cmdline; echo; echo $$; cat /{content}; uname -n")
    assert done.code == 0, done
    first, own, read, host = done.lines
    assert first.split() == ["top"]
    assert int(own) > 1
    assert (read, host) == (content, chapter("exec", name, "uname", "-n").out.strip())


@holds("5.4")
def test_the_five_namespaces_are_the_containers(chapter: Chapter) -> None:
    """D17: the kernel shows ipc, uts, net, pid and mnt of exec's process to be those of the container's PID 1, and not ours."""
    name = fresh("bird")
    first = chapter.detach(["top"], name=name)
    runtime = chapter.begin_verb("exec", name, "sleep", "1000")

    def joined() -> int:
        return next((pid for pid in children(runtime.pid) if command_line(pid) == ["sleep", "1000"]), 0)

    process = int(str(eventually(joined)))
    assert namespaces(process) == namespaces(first)
    assert not set(namespaces(process).values()) & set(namespaces().values())
    assert os.path.samefile(f"/proc/{process}/root", f"/proc/{first}/root")
    assert status(process, "NSpid").split()[0] == str(process)
    hierarchies = Path(f"/proc/{process}/cgroup").read_text()
    assert hierarchies == Path(f"/proc/{first}/cgroup").read_text(), "and it is in the container's control groups"


@holds("5.4")
def test_the_namespaces_are_joined_in_the_documented_order(chapter: Chapter, tmp_path: Path) -> None:
    """D17: the kernel is asked for ipc, uts, net, pid and mnt, in that order, by the process that becomes the command."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed, and no table of the kernel's tells the order afterwards")
    name, trace = fresh("bird"), tmp_path / "trace"
    chapter.detach(["top"], name=name)
    chapter.before = ["strace", "-f", "-e", "trace=setns,execve", "-o", str(trace)]
    assert chapter("exec", name, "true").code == 0
    calls: dict[str, list[str]] = {}
    for line in trace.read_text().splitlines():
        pid, _, rest = line.partition(" ")
        if joined := re.search(r"setns\(\d+, CLONE_NEW(\w+)\) += 0", rest):
            calls.setdefault(pid, []).append({"NS": "mnt"}.get(joined[1], joined[1].lower()))
        elif "execve(" in rest and '["true"]' in rest and rest.endswith("= 0"):
            assert calls[pid] == list(KINDS)
            return
    pytest.fail(f"nobody executed the command: {trace.read_text()}")


@holds("5.4")
def test_exec_gives_the_exit_code_and_takes_the_commands_flags_for_the_command(chapter: Chapter) -> None:
    """The command's exit code comes back, its input is the caller's, and its words arrive as typed."""
    name, typed = fresh("bird"), fresh()
    chapter.detach(["top"], name=name)
    assert chapter("exec", name, "sh", "-c", "exit 43").code == 43
    assert chapter("exec", name, fresh("nosuch")).code == 127
    assert chapter("exec", name, "cat", stdin=typed).out == typed
    assert chapter("exec", "-ti", name, "echo", "-ti", "two  words", "").out == "-ti two  words \n"


@pytest.mark.parametrize("chapter", ["5.4", "5.7", "5.8"], indirect=True)
@pytest.mark.parametrize("options", [[], ["-ti"], ["-t", "-i"]])
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


@holds("5.4")
def test_exec_into_a_container_that_does_not_run_is_refused(chapter: Chapter, tmp_path: Path) -> None:
    """An unknown container, or one that has ended, runs nothing, and above all nothing on the host."""
    name, proof = fresh("bird"), tmp_path / fresh()
    chapter.detach_to_the_end(["sleep", "0.3"], name=name)
    for who in (name, fresh("nosuch")):
        done = chapter("exec", who, "touch", str(proof))
        assert (done.code, done.out, done.err.count("\n")) == (125, "", 1)
        assert who in done.err
    assert not proof.exists()


@pytest.mark.parametrize("chapter", ["5.4", "5.8"], indirect=True)
def test_exec_is_limited_with_its_container(chapter: Chapter) -> None:
    """What exec starts is in the container's memory group as well, from its first instruction."""
    name = fresh("bird")
    first = chapter.detach(["top"], "-m", "100m", name=name)
    group = str(group_directory(first, "memory"))
    for line in chapter("exec", name, "cat", "/proc/self/cgroup").lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("memory", ""):
            assert path.endswith(group[group.index("/zocker/") :]), line
