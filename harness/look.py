"""A look at a world: what is to be seen of it at one moment, and the difference of two looks."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.network import network_of
from harness.processes import NAMESPACES

if TYPE_CHECKING:
    from harness.world import World


@dataclass(frozen=True)
class Look:
    """What is to be seen of a world at one moment, each thing as it is named in a sentence.

    `namespaces` tells for each namespace who holds it open, `networks` are the named ones of `ip netns`.
    """

    mounts: tuple[str, ...]
    processes: tuple[str, ...]
    cgroups: tuple[str, ...]
    namespaces: dict[str, str]
    networks: tuple[str, ...]
    links: tuple[str, ...]
    addresses: tuple[str, ...]
    rules: tuple[str, ...]
    files: tuple[str, ...]


def difference(before: Look, after: Look) -> list[str]:
    """What of `after` was not there `before`, and what of the machine's own is missing: a sentence for each thing."""

    def more(one: tuple[str, ...], other: tuple[str, ...]) -> list[str]:
        return sorted((Counter(one) - Counter(other)).elements())

    return [
        *(f"a mount stayed: {name}" for name in more(after.mounts, before.mounts)),
        *(f"a mount is gone: {name}" for name in more(before.mounts, after.mounts)),
        *(f"a process stayed: {name}" for name in more(after.processes, before.processes)),
        *(f"a cgroup stayed: {name}" for name in more(after.cgroups, before.cgroups)),
        *(
            f"a namespace is held open: {name} by {holder}"
            for name, holder in sorted(after.namespaces.items())
            if name not in before.namespaces
        ),
        *(f"a named network namespace stayed: {name}" for name in more(after.networks, before.networks)),
        *(f"a named network namespace is gone: {name}" for name in more(before.networks, after.networks)),
        *(f"a network link stayed: {name}" for name in more(after.links, before.links)),
        *(f"a network link is gone: {name}" for name in more(before.links, after.links)),
        *(f"a network address stayed: {name}" for name in more(after.addresses, before.addresses)),
        *(f"a network address is gone: {name}" for name in more(before.addresses, after.addresses)),
        *(f"a firewall rule stayed: {name}" for name in more(after.rules, before.rules)),
        *(f"a firewall rule is gone: {name}" for name in more(before.rules, after.rules)),
        *(f"a file stayed: {name}" for name in more(after.files, before.files)),
        *(f"a file is gone: {name}" for name in more(before.files, after.files)),
    ]


def look_at(world: "World", files_under: tuple[str, ...] = ("/root", "/var/run")) -> Look:
    """What is to be seen now, and which files there are under the directories `files_under`."""
    mounts = [line.partition(" - ") for line in world.mountinfo()]
    processes = [process for process in world.processes() if process.pid != 1]
    namespaces = {}
    for before, _, after in mounts:
        fields = before.split(" ")
        if after.startswith("nsfs "):
            namespaces[fields[3]] = f"the mount {fields[4]}"
    for pid, holder in [(1, "1"), *((process.pid, str(process)) for process in processes)]:
        with suppress(OSError):
            for kind in NAMESPACES:
                namespaces.setdefault(os.readlink(world.proc(pid) / "ns" / kind), f"process {holder}")
    network = network_of(world.proc(1))
    return Look(
        mounts=tuple(f"{before.split(' ')[4]} ({after.split(' ')[0]})" for before, _, after in mounts),
        processes=tuple(str(process) for process in processes),
        cgroups=tuple(inside for _, inside in world.subtree.groups()),
        namespaces=namespaces,
        networks=tuple(named_networks(world)),
        links=network.links,
        addresses=network.addresses,
        rules=network.rules,
        files=tuple(name for directory in files_under for name in _files(world, directory)),
    )


def _files(world: "World", inside: str) -> Iterator[str]:
    """All below a directory of the world, directories with a slash behind; not what is mounted there."""
    directories = [(world.path(inside), inside)]
    device = 0
    while directories:
        directory, name = directories.pop()
        with suppress(OSError):
            here = directory.lstat() if device else directory.stat()  # /var/run is a link
            device = device or here.st_dev
            if not stat.S_ISDIR(here.st_mode) or here.st_dev != device:
                continue
            for entry in os.scandir(directory):
                inner = f"{name}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    yield f"{inner}/"
                    directories.append((Path(entry.path), inner))
                else:
                    yield inner


def named_networks(world: "World") -> list[str]:
    """The network namespaces that have a name.  ip-netns(8)"""
    with suppress(OSError):
        return os.listdir(world.path("/var/run/netns"))
    return []
