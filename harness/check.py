"""`stages check`: which of the documented behaviours an implementation has.

stages check [X] [--subject S] [--subjects A,B] [--all] [--defects] [--junit FILE] [--vm]

With --defects also whether it has one of the known defects of other implementations: a ✓ says that it has not.
With --vm all of it happens in the virtual machine: see `vm`.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness import vm_start
from harness.behaviours import DIRECTORY
from harness.python import environment, has, python_with
from harness.subjects import CHECKOUT
from harness.vm_errors import VMError

USAGE = "stages check [X] [--subject NAME] [--subjects A,B] [--all] [--defects] [--junit FILE] [--vm]"
BEHAVIOURS = str(DIRECTORY)
BAD_INPUT = 125
INTERRUPTED = 130
WORKERS = 4  # on two CPUs: each waits half of its time, for the kernel or for what a check gives time to
PYTEST_SAYS = {0: 0, 1: 1, 2: INTERRUPTED}  # by pytest's own exit codes
NEEDED = ("pytest", "pytest_order", "pyroute2", "sh")


class CheckError(Exception):
    """What was asked for can't be done.  One sentence."""


@dataclass
class Wanted:
    """What a person asks for."""

    chapter: str = ""
    subjects: list[str] = field(default_factory=list)
    all: bool = False
    defects: bool = False
    junit: str = ""
    vm: bool = False


def main(words: list[str]) -> int:
    """Check, print the report, and return 0 when all passed, 1 when something failed, 125 when it can't be done."""
    try:
        return check(understood(words))
    except (CheckError, VMError) as error:
        print(f"stages check: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def understood(words: list[str]) -> Wanted:
    """What the words ask for.  Raises CheckError."""
    wanted = Wanted()
    rest = list(words)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if not option.startswith("-"):
            if wanted.chapter:
                raise CheckError(f"one chapter at a time, and there are {wanted.chapter} and {option}: {USAGE}")
            wanted.chapter = option
            continue
        if option in ("--all", "--defects", "--vm"):
            if equals:
                raise CheckError(f"{option} takes no value: {USAGE}")
            setattr(wanted, option[2:], True)
            continue
        if option not in ("--subject", "--subjects", "--junit"):
            raise CheckError(f"there is no option {option}: {USAGE}")
        if not equals:
            if not rest:
                raise CheckError(f"{option} needs a value: {USAGE}")
            value = rest.pop(0)
        if not value:
            raise CheckError(f"{option} needs a value: {USAGE}")
        if option == "--junit":
            wanted.junit = value
        else:
            wanted.subjects += value.split(",") if option == "--subjects" else [value]
    return wanted


def check(wanted: Wanted) -> int:
    """Have pytest make the checks; its exit code in our numbers.  Raises CheckError."""
    _refuse_what_cannot_be(wanted)
    if wanted.vm:
        vm_start.become(["check", *_words(wanted)])
    words = [*pytest_words(wanted), "--workers", str(WORKERS)]
    _clean_path()
    if has(NEEDED):
        return _in_this_process(words)
    # -P: nothing that lies in the current directory is imported.
    with subprocess.Popen([_python(), "-P", "-m", "pytest", *words], env=alone(environment())) as running:
        while True:
            try:
                return PYTEST_SAYS.get(running.wait(), BAD_INPUT)
            except KeyboardInterrupt:  # pytest has got it as well, and closes the worlds
                continue


def _clean_path() -> None:
    """Import from Python's own places and this checkout only, whatever lies in the current directory or is in PYTHONPATH."""
    given = {os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(":")}
    own = sys.path if sys.flags.safe_path else sys.path[1:]
    sys.path[:] = [str(CHECKOUT), *(path for path in own if os.path.abspath(path) not in given)]


def _in_this_process(words: list[str]) -> int:
    """Have pytest make the checks right here: where it is emulated, each start of a Python less saves a second."""
    there = alone(environment())
    os.environ.clear()
    os.environ.update(there)
    import pytest

    return PYTEST_SAYS.get(pytest.main(words), BAD_INPUT)


def pytest_words(wanted: Wanted) -> list[str]:
    """What pytest is told."""
    return [
        *("-c", os.devnull, "--rootdir", BEHAVIOURS, "--confcutdir", BEHAVIOURS, "--strict-markers"),
        *("-s", "-p", "no:terminal", "-p", "no:cacheprovider"),
        *("-p", "pytest_order.plugin", "-p", "harness.plugin", "-p", "harness.workers", "-p", "harness.report"),
        *(word for name in wanted.subjects for word in ("--subject", name)),
        *(("--chapter", wanted.chapter) if wanted.chapter else ()),
        *(() if wanted.all else ("-x",)),
        *(("--defects",) if wanted.defects else ()),
        *(("--junitxml", wanted.junit) if wanted.junit else ()),
        BEHAVIOURS,
    ]


def alone(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which pytest has only the plug-ins that are named: what else is installed is to change nothing."""
    left = {name: value for name, value in environment.items() if name not in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")}
    return {**left, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _refuse_what_cannot_be(wanted: Wanted) -> None:
    from harness import chapters
    from harness.choice import chosen
    from harness.errors import WorldError
    from harness.subjects import SubjectError, find
    from harness.world import require

    if wanted.chapter:
        try:
            wanted.chapter = chapters.number_of(wanted.chapter)
        except KeyError:
            there = ", ".join(chapters.NUMBERS)
            raise CheckError(f"there is no chapter {wanted.chapter!r}: there are {there}") from None
    try:
        if wanted.vm:  # which has a kernel and engines of its own
            for name in set(wanted.subjects) - {"ours"}:
                find(name, wanted.chapter)
        else:
            chosen(wanted.subjects, wanted.chapter)
            require()
    except (SubjectError, WorldError) as error:
        raise CheckError(str(error)) from None
    if not wanted.vm and not os.access("/bin/busybox", os.X_OK):
        raise CheckError("the image is made of /bin/busybox, which is not there: use ./bootstrap stages check")
    if wanted.junit and not os.path.isdir(os.path.dirname(os.path.abspath(wanted.junit))):
        raise CheckError(f"--junit {wanted.junit}: there is no directory {os.path.dirname(wanted.junit)}")


def _words(wanted: Wanted) -> list[str]:
    """The words by which the same is asked for, without those that say where."""
    return [
        *((wanted.chapter,) if wanted.chapter else ()),
        *(word for name in wanted.subjects for word in ("--subject", name)),
        *(("--all",) if wanted.all else ()),
        *(("--defects",) if wanted.defects else ()),
        *(("--junit", os.path.abspath(wanted.junit)) if wanted.junit else ()),
    ]


def _python() -> str:
    if python := python_with(NEEDED):
        return python
    raise CheckError("pytest, pytest-order, pyroute2 and sh are not all installed: use ./bootstrap stages check")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
