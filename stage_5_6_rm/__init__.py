"""5.6  `rm` undoes what `run` did, from the journal; a container that runs is refused."""

import os

from stages import options
from stages.kernel import machine, records
from stages.kernel.errors import Failure
from stages.kernel.places import Places, check_name


def rm(places: Places, words: list[str]) -> int:
    """Remove one container or several.  `-f`: also those that run.  Raises Failure."""
    names, force = wanted(places, words)
    for name in names:
        if force:
            machine.end(places.home(name))
        machine.undo(places.home(name))
    return 0


def wanted(places: Places, words: list[str]) -> tuple[list[str], bool]:
    """The containers that `words` name, and whether also those that run.  Raises Failure when one can't be removed."""
    found, rest = options.split("rm", words, set(), {"f"}, anywhere=True)
    force = bool(found)
    names = [check_name(name, "a container") for name in options.names("rm", rest)]
    for name in names:
        if not os.path.isdir(places.home(name)):
            records.find(places, name)
            raise Failure(f"{name} was started with another ZOCKER_ROOT: its journal is not in {places.containers}")
        elif not force and machine.is_alive(places.home(name)):
            raise Failure(f"{name} is running: stop it first, or rm -f")
    return names, force
