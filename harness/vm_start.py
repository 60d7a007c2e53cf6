"""The way from `stages`, which runs without site packages, to the Python that has python-vagrant."""

import os

from harness.python import environment, python_with
from harness.vm_errors import VMError


def become(words: list[str]) -> None:
    """Go on as `python -m harness.vm WORD …`, in this process: so signals and the exit code are that one's.

    Raises VMError when no Python has python-vagrant.
    """
    python = python_with(("vagrant",))
    if not python:
        raise VMError(
            "python-vagrant is not installed: use ./bootstrap, such as `./bootstrap stages vm up`, which does that"
        )
    # Without site packages one can't find them.
    os.execve(python, [python, "-P", "-m", "harness.vm", *words], environment())
