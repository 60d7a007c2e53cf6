"""The bar: on a terminal, after a while, and gone at the end."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.test_tar import REPOSITORY

# Works until it is told to end, and shows itself at once if the second argument says so.
PROGRAM = """
import sys
from stages.kernel import progress
if sys.argv[1] == "at once":
    progress._QUIET = 0
asked = []
with progress.Progress("packing", lambda: 30, lambda: asked.append(1) or 120):
    sys.stdin.read(1)
print(len(asked))
"""


def started(when: str, stderr: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", PROGRAM, when]
    environment = {**os.environ, "PYTHONPATH": REPOSITORY}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=environment)


def ended(program: "subprocess.Popen[bytes]") -> str:
    out, _ = program.communicate(b"x", timeout=20)
    assert program.returncode == 0
    return out.decode().strip()


def test_on_a_terminal_a_bar_says_how_far_it_is_and_goes_away() -> None:
    ours, theirs = pty.openpty()
    program = started("at once", theirs)
    os.close(theirs)
    seen = b""
    while b"%" not in seen:
        seen += os.read(ours, 1000)
    assert ended(program) == "1", "the whole is asked for once"
    try:
        while more := os.read(ours, 1000):
            seen += more
    except OSError:
        pass  # EIO: nobody has the other end any more
    os.close(ours)
    assert re.search(rb"packing \[#{7} {23}\]  25%", seen)
    assert seen.endswith(b"\r\x1b[K")


def test_what_is_done_soon_shows_nothing() -> None:
    ours, theirs = pty.openpty()
    program = started("later", theirs)
    assert ended(program) == "0"
    os.close(theirs)
    with pytest.raises(OSError):
        os.read(ours, 1000)
    os.close(ours)


def test_in_a_pipe_nothing_is_shown(tmp_path: Path) -> None:
    with open(tmp_path / "errors", "wb") as errors:
        program = started("at once", errors.fileno())
        assert ended(program) == "0"
    assert (tmp_path / "errors").read_bytes() == b""
