"""Containers from a Python program, without a command line and without a new process for each.

    from stages import library

    places = library.places("/tmp/root", "/tmp/state")
    code = library.run(places, ["busybox", "echo", "hello"])          # waits, and returns the command's exit code
    library.run(places, ["-d", "--name", "one", "busybox", "top"])    # does not wait
    library.do(places, "stop", ["one"])
    library.do(places, "rm", ["one"])

It needs root, as the command does. A program that has only one thread starts containers faster: see `stages.kernel.birth`.
Several processes may do so at once, several threads may not: signals and the working directory are the whole process's.
"""

import os
from _collections_abc import Callable

from stages import find, load, verbs
from stages.kernel import container, images, signals
from stages.kernel.places import Places
from stages.run import read

CHAPTER = "5.8"  # the one that knows all verbs


def places(root: str, state: str) -> Places:
    """Where images, layers (`root`) and records (`state`) are: two absolute paths.  Raises Failure."""
    return Places(root, state)


def run(places: Places, words: list[str]) -> int:
    """Run a container.  `words` are what stands behind `zocker run`: options, image, command.

    Returns the command's exit code, or 0 as soon as a detached one runs.  Raises Failure (stages.kernel.errors), with nothing
    done, when it can't be; OSError when the kernel refuses; Failure, too, when a signal asks this program to end meanwhile.
    """
    stage = load(find(CHAPTER))
    spec = read(stage, places, words)
    images.require(places, spec.image)
    return _undisturbed(lambda: container.run(spec, stage.program(spec)))


def do(places: Places, verb: str, words: list[str]) -> int:
    """Do another verb: `exec`, `ps`, `logs`, `stop`, `rm` or `commit`, with what stands behind it on a command line.

    Returns the exit code; what a verb prints goes to standard output.  Raises Failure and OSError, as `run`.
    """
    module = __import__(verbs(find(CHAPTER))[verb].package)
    return _undisturbed(lambda: getattr(module, verb)(places, words))


def _undisturbed(work: "Callable[[], int]") -> int:
    """Do `work`, and leave the caller's handling of signals and its umask as they were."""
    saved, umask = signals.save(), os.umask(0o022)
    try:
        return work()
    finally:
        os.umask(umask)
        signals.restore(saved)
