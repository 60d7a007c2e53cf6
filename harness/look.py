"""A look at a world: what is to be seen of it at one moment, and the difference of two looks."""

import os
import shutil
import socket
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.processes import NAMESPACES

if TYPE_CHECKING:
    from harness.world import World


@dataclass(frozen=True)
class Look:
    """What is to be seen of a world at one moment, each thing as it is named in a sentence.

    `namespaces` tells for each namespace who holds it open.  Links and rules are the machine's.
    """

    mounts: tuple[str, ...]
    processes: tuple[str, ...]
    cgroups: tuple[str, ...]
    namespaces: dict[str, str]
    links: tuple[str, ...]
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
        *(f"a network link stayed: {name}" for name in more(after.links, before.links)),
        *(f"a network link is gone: {name}" for name in more(before.links, after.links)),
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
    return Look(
        mounts=tuple(f"{before.split(' ')[4]} ({after.split(' ')[0]})" for before, _, after in mounts),
        processes=tuple(str(process) for process in processes),
        cgroups=tuple(inside for _, inside in world.subtree.groups()),
        namespaces=namespaces,
        links=tuple(name for _, name in socket.if_nameindex()),
        rules=tuple(firewall_rules()),
        files=tuple(name for directory in files_under for name in _files(world, directory)),
    )


def _files(world: "World", inside: str) -> Iterator[str]:
    """All below a directory of the world, directories with a slash behind; not what is mounted there."""
    directories = [(world.path(inside), inside)]
    device = 0
    while directories:
        directory, name = directories.pop()
        with suppress(OSError):
            here = directory.lstat()
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


def firewall_rules() -> Iterator[str]:
    """The machine's firewall rules, one a line, without counters; none when there is no tool to ask."""
    if shutil.which("nft"):
        done = subprocess.run(["nft", "-s", "list", "ruleset"], capture_output=True, text=True, check=False)
        path: list[str] = []  # the table and the chain that we are in
        for line in done.stdout.splitlines():
            if line.endswith("{"):
                path.append(line.strip(" \t{"))
            elif line.strip() == "}":
                path.pop()
            elif line.strip():
                yield " / ".join([*path, line.strip()])
    elif shutil.which("iptables-save"):
        done = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False)
        yield from (line for line in done.stdout.splitlines() if line.startswith("-A"))
