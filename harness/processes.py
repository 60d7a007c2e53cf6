"""The kernel's table of processes, read for a world: what /proc/PID says.  proc(5)"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

NAMESPACES = ("mnt", "pid", "net", "ipc", "uts")


@dataclass(frozen=True)
class Process:
    """A line of the world's process table.

    `state` is the kernel's letter, `name` the kernel's short name, `cmdline` the words of its command, `nspid` its pid in
    this and each inner pid namespace, `start` the time of its start in clock ticks since boot.
    """

    pid: int
    ppid: int
    state: str
    name: str
    cmdline: tuple[str, ...]
    nspid: tuple[int, ...]
    start: int

    def __str__(self) -> str:
        words = " ".join(self.cmdline) or f"[{self.name}]"
        return f"{self.pid} {words[:80]}{' (a zombie)' if self.state == 'Z' else ''}"


class Stat(NamedTuple):
    """Some fields of /proc/PID/stat.  proc_pid_stat(5)"""

    name: str
    state: str
    ppid: int
    start: int


def status(directory: Path) -> dict[str, str]:
    """The lines of a process's `status` file; `directory` is its directory in a /proc.  Raises OSError."""
    lines = (directory / "status").read_text(errors="surrogateescape").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def innermost(directory: Path) -> tuple[str, str]:
    """The innermost pid namespace of a process and its pid there, which are the same from wherever one looks.  Raises OSError."""
    return os.readlink(directory / "ns/pid"), status(directory)["NSpid"].split()[-1]


def ancestry(pid: int, table: dict[int, Stat]) -> Iterator[int]:
    """The pid of a process, of its parent, of its parent's parent and so on, as `table` has them."""
    while pid in table:
        yield pid
        pid = table[pid].ppid
