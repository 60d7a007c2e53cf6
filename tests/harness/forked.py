"""pytest as a process of its own that has nothing to import any more: a fork of the one that makes these tests.

A hundred of them are started here, and to import everything takes longer than many of them take for their work.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable

import pytest

from harness import python
from harness.check import BEHAVIOURS, alone
from harness.workers import FORK


def run(words: Iterable[object], timeout: float = 600) -> "subprocess.CompletedProcess[str]":
    """`pytest WORDS…` in the directory of the behaviours, with only those plug-ins that are named."""
    given = [str(word) for word in words]
    streams = {"mode": "w+", "errors": "surrogateescape"}
    with tempfile.TemporaryFile(**streams) as out, tempfile.TemporaryFile(**streams) as err:  # type: ignore[call-overload]
        process = FORK.Process(target=_main, args=(given, out.fileno(), err.fileno()))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.terminate()
            process.join()
            pytest.fail(f"pytest did not end within {timeout} s: {given}")
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(given, process.exitcode or 0, out.read(), err.read())


def _main(words: list[str], out: int, err: int) -> None:
    os.dup2(out, 1)
    os.dup2(err, 2)
    # Not those of the pytest that we are a fork of: it captures what is written there.
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    environment = alone(python.environment())
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(BEHAVIOURS)
    code = pytest.main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)
