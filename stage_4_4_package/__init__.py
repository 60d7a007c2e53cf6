"""4.4  The merged view, packed as a tar, is an image again: `commit IMAGE`."""

import os

from stages import options
from stages.kernel import commit as packing
from stages.kernel import journal
from stages.kernel.errors import Failure
from stages.kernel.places import Places, check_image_name


def commit(places: Places, words: list[str]) -> int:
    """Pack the one mount that all containers share as `IMAGE.tar`, and print its path.  Raises Failure."""
    packing.commit(places, *wanted(places, words))
    return 0


def wanted(places: Places, words: list[str]) -> tuple[str, dict[str, list[str]], str]:
    """What is to be packed, who writes there (names and control groups), and the new image's name.  Raises Failure."""
    _, rest = options.split("commit", words, set(), set())
    if len(rest) != 1:
        raise Failure("commit: it takes the name of the new image: commit IMAGE")
    image = check_image_name(rest[0])
    names = os.listdir(places.containers) if os.path.isdir(places.containers) else []
    journals = {name: journal.Done(places.home(name)) for name in names}
    running = {name: journal.texts(done.container, "groups") for name, done in journals.items() if done.is_alive()}
    if not running:
        raise Failure("commit: no container is running, and its layers go when it exits: start one first")
    return places.below_root("mnt"), running, image
