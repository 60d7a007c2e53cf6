"""The script of `commit`."""

from stage_4_4_package import wanted
from stages import Rung
from stages.explain import packing
from stages.explain.script import Script
from stages.kernel.places import Places


def write(script: Script, rung: Rung, command: str, places: Places, words: list[str]) -> None:
    """Write down how an image is made of a container.  Raises Failure."""
    packing.write(script, rung, command, places, *wanted(places, words))
