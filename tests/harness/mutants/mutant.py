"""What a mutant is: the program of one of our chapters with one fault, which the checks have to notice."""

import inspect
import re
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from harness.init import cgroup_mounts
from harness.subjects import CHECKOUT

PROGRAM = """\
#!/bin/sh
# {says}
python=/usr/bin/python3
[ -x "$python" ] || python=python3
exec "$python" -IS -c {source} "$@"
"""
SOURCE = """\
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, {checkout!r})
{patch}
{function}()
from stages.launch import main
os._exit(main({chapter!r}, program={name!r}))
"""

Change = Callable[[], None]


@dataclass(frozen=True)
class Mutant:
    """Our program as of `chapter` with the fault that `says` tells.

    `patch` is the Python that makes the fault, before the program's own work; `function` is what it defines.
    Made of it are all checks that hold in the chapter and came with `since` or later.  `kills` are the keys of exactly those
    which fail because they see the fault; `weakly` of those that fail only because a call ended badly, which proves nothing.
    `only_v1`: it is a fault only where the cpuset controller is one of cgroup v1.
    """

    name: str
    chapter: str
    says: str
    patch: str
    function: str
    kills: frozenset[str]
    weakly: frozenset[str]
    since: str
    only_v1: bool

    def is_one_here(self) -> bool:
        """Is it a fault on this machine?"""
        return not self.only_v1 or any("cpuset" in controllers.split(",") for _, controllers in cgroup_mounts())


MUTANTS: dict[str, Mutant] = {}


def mutant(
    chapter: str,
    kills: Collection[str],
    weakly: Collection[str] = (),
    since: str = "3.1",
    only_v1: bool = False,
    name: str = "",
) -> Callable[[Change], Change]:
    """Make a function a mutant: its name is the mutant's, if no other is given, its docstring says the fault, its body makes it.

    The body runs in the mutant, never here: it has to import what it changes.  A fault of one verb is looked for by the
    checks since the verb's chapter; those before don't call it.
    """

    def enter(change: Change) -> Change:
        known = name or change.__name__.replace("_", "-")
        assert known not in MUTANTS, f"there are two mutants {known}"
        source = inspect.getsource(change)
        patch = source[re.search("(?m)^def ", source).start() :]  # type: ignore[union-attr]  # without the decorator
        says = " ".join((change.__doc__ or "").split())
        MUTANTS[known] = Mutant(
            known, chapter, says, patch, change.__name__, frozenset(kills), frozenset(weakly), since, only_v1
        )
        return change

    return enter


def as_program(mutant: Mutant, directory: Path) -> Path:
    """The mutant as a program in `directory`, which speaks the tutorial's command line."""
    source = SOURCE.format(checkout=str(CHECKOUT), **vars(mutant))
    program = directory / mutant.name
    program.write_text(PROGRAM.format(says=mutant.says, source=shlex.quote(source)))
    program.chmod(0o755)
    return program
