"""Containers from a Python program: run, joined, stopped and removed in process, and what the program's own state is afterwards."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, Stage

HEAD = f"""
import os, signal, sys
sys.path.insert(0, {str(CHECKOUT)!r})
from stages import library
from stages.kernel.errors import Failure
places = library.places(os.environ["ZOCKER_ROOT"], os.environ["ZOCKER_STATE"])
"""


@pytest.fixture
def zocker(stage: Callable[[str], Stage]) -> Stage:
    return stage("5.8")


def program(zocker: Stage, body: str, code: int = 0) -> str:
    """Run a Python program that uses the library; what it printed."""
    words = [sys.executable, "-c", HEAD + body]
    done = subprocess.run(words, env=zocker.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done
    return done.stdout


def test_the_example_in_its_docstring_works(zocker: Stage) -> None:
    """Word for word, but for the places."""
    text = (CHECKOUT / "stages/library.py").read_text()
    example = [
        line.strip() for line in text.splitlines() if line.startswith("    library.") or line.startswith("    code")
    ]
    said = program(zocker, "\n".join([*example, "print(code)"]))
    assert said == "hello\n0\n"
    assert zocker("ps").lines[1:] == []


def test_the_exit_code_is_the_commands(zocker: Stage) -> None:
    assert program(zocker, 'print(library.run(places, ["busybox", "sh", "-c", "exit 7"]))') == "7\n"


def test_what_is_wrong_is_a_failure_with_nothing_done(zocker: Stage) -> None:
    body = """
for words in (["nothing", "true"], ["-m", "1", "busybox", "true"], ["busybox", "not-there"]):
    try:
        library.run(places, words)
    except Failure as failure:
        print(failure.exit_code, failure)
print(os.path.exists(f"{places.root}/mnt"))
"""
    lines = program(zocker, body).splitlines()
    assert [line[:3] for line in lines[:3]] == ["125", "125", "127"] and lines[3] == "False"


def test_the_programs_own_signals_umask_and_directory_are_as_they_were(zocker: Stage, tmp_path: Path) -> None:
    """Also after a container that was left running, and after one that failed."""
    body = f"""
def ours(number, frame): print("asked", number, flush=True)
os.chdir({str(tmp_path)!r}); os.umask(0o027)
signal.signal(signal.SIGTERM, ours); signal.signal(signal.SIGHUP, signal.SIG_IGN)
def state():
    return [signal.getsignal(n) for n in range(1, 32) if n not in (9, 19)], signal.pthread_sigmask(signal.SIG_BLOCK, [])
before = state()
library.run(places, ["-d", "--name", "one", "busybox", "sleep", "1000"])
assert state() == before
library.run(places, ["-v", {str(tmp_path)!r} + ":/v", "busybox", "true"])
assert state() == before
try:
    library.run(places, ["busybox", "not-there"])
except Failure:
    pass
assert state() == before and os.getcwd() == {str(tmp_path)!r} and os.umask(0) == 0o027
library.do(places, "exec", ["one", "true"]); library.do(places, "stop", ["one"]); library.do(places, "rm", ["one"])
assert state() == before
os.kill(os.getpid(), signal.SIGTERM)
"""
    assert program(zocker, body) == "asked 15\n"


def test_ctrl_c_while_a_container_starts_reaches_the_program_as_a_failure(zocker: Stage) -> None:
    """Nothing of the container is left then."""
    body = """
from stages.kernel import machine
start = machine.start
def start_and_interrupt(*arguments):
    os.kill(os.getpid(), signal.SIGINT)
    return start(*arguments)
machine.start = start_and_interrupt
try:
    library.run(places, ["-d", "--name", "one", "busybox", "sleep", "1000"])
except Failure as failure:
    print(failure)
"""
    assert "interrupted" in program(zocker, body)
    assert zocker("ps").lines[1:] == [] and not (zocker.root / "mnt").exists()


def test_many_in_process_leave_neither_descriptors_nor_children(zocker: Stage) -> None:
    body = """
library.run(places, ["busybox", "true"])
before = sorted(os.listdir("/proc/self/fd"))
for _ in range(30):
    assert library.run(places, ["busybox", "true"]) == 0
assert sorted(os.listdir("/proc/self/fd")) == before
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
"""
    assert program(zocker, body) == "no child\n"


def test_two_programs_at_once_run_containers_beside_each_other(zocker: Stage) -> None:
    body = 'print([library.run(places, ["busybox", "true"]) for _ in range(15)] == [0] * 15)'
    words = [sys.executable, "-c", HEAD + body]
    programs = [subprocess.Popen(words, env=zocker.environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [each.communicate(timeout=120)[0] for each in programs] == ["True\n"] * 3
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and os.listdir(zocker.root / ".zocker/containers") == []
