"""While a program is asked for what could harm the machine, the machine's own files can't be written in its world."""

from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import WorldError
from harness.world import World

NOT_THE_MACHINES = ("/root", "/var", "/run", "/proc", "/sys", "/dev")  # the world's own, or the kernel's
# One that the machine itself has taken away meanwhile, with its directory, needs no protection.
REMOUNT = 'for place; do mount -o "remount,bind,$0" "$place" || [ ! -e "$place" ] || exit; done'


@contextmanager
def read_only(world: World) -> Iterator[None]:
    """All mounts are read-only in the world meanwhile, but those below /root, /var, /run and the kernel's file systems.

    The flag is of the mount, so elsewhere on the machine nothing changes.  Raises WorldError when it can't be done.
    """
    lines = [line.split(" ") for line in world.mountinfo()]
    places = [
        fields[4]
        for fields in lines
        if "rw" in fields[5].split(",") and not f"{fields[4]}/".startswith(tuple(f"{one}/" for one in NOT_THE_MACHINES))
    ]
    _remount(world, "ro", places)
    try:
        yield
    finally:
        _remount(world, "rw", places)


def _remount(world: World, how: str, places: list[str]) -> None:
    done = world.run(["sh", "-c", REMOUNT, how, *places])
    if done.code != 0:
        raise WorldError(f"the machine's files can't be made {how} in the world: {done.err.strip()}")
