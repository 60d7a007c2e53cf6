"""The network of a world: its links, addresses and firewall rules, as the kernel has them."""

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.init import CLONE_NEWNET

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Network:
    """What there is at one moment, each thing as it is named in a sentence.

    `rules` are the firewall's, as far as a tool that lists them is installed: without one they are not looked at.
    """

    links: tuple[str, ...]
    addresses: tuple[str, ...]
    rules: tuple[str, ...]


def network_of(process: Path) -> Network:
    """The network in which a process is; `process` is its directory in a /proc.  Raises OSError."""
    # Only now: it takes longer to import than all the rest of the harness.
    from pyroute2 import IPRoute  # type: ignore[import-untyped]

    with inside(process):
        with IPRoute() as kernel:
            names, links = {}, []
            for link in kernel.get_links():
                name, kind = link.get("ifname"), link.get(("linkinfo", "kind"))
                names[link["index"]] = name
                links.append(f"{name} ({kind})" if kind else name)
            addresses = [
                f"{found.get('address')}/{found['prefixlen']} on {names.get(found['index'], 'a link that is gone')}"
                for found in kernel.get_addr()
            ]
        # Not those that the kernel gives to a link by itself, some time after it is up.
        addresses = [address for address in addresses if not address.startswith("fe80:")]
        return Network(tuple(links), tuple(addresses), tuple(firewall_rules()))


@contextmanager
def inside(process: Path) -> Iterator[None]:
    """Be in the network namespace of a process: this thread, and what it opens and starts there.  setns(2)"""
    own, theirs = os.open("/proc/thread-self/ns/net", os.O_RDONLY), -1
    try:
        theirs = os.open(process / "ns/net", os.O_RDONLY)
        _enter(theirs)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)
        if theirs >= 0:
            os.close(theirs)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns net")


def firewall_rules() -> Iterator[str]:
    """The firewall's rules here, one a line, without counters: those of nftables, and those of the older x_tables."""
    path: list[str] = []  # the table and the chain that we are in
    in_use = _nftables()
    for line in _printed("nft", "-s", "list", "ruleset") if in_use else ():
        if line.endswith("{"):
            path.append(line.strip(" \t{"))
        elif line.strip() == "}":
            path.pop()
        elif line.strip():
            yield " / ".join([*path, line.strip()])
    for family in ("iptables", "ip6tables"):
        tools = [f"{family}-nft-save"] if in_use and not shutil.which("nft") else []
        if _x_tables(family):
            tools.append(shutil.which(f"{family}-legacy-save") or f"{family}-save")
        for tool in tools:
            yield from (f"{family} {line}" for line in _printed(tool) if line.startswith("-A"))


def _nftables() -> bool:
    """Has anybody made a table of nftables here?  To ask the kernel takes less than to start a tool."""
    from pyroute2 import NetlinkError
    from pyroute2.nftables.main import NFTables  # type: ignore[import-untyped]

    try:
        with NFTables(nfgen_family=socket.AF_UNSPEC) as kernel:
            return bool(list(kernel.get_tables()))
    except (NetlinkError, OSError):  # this kernel has none
        return False


def _x_tables(family: str) -> bool:
    """Has anybody used them here?"""
    try:
        return bool(Path("/proc/thread-self/net", family.replace("tables", "_tables_names")).read_text())
    except OSError:  # this kernel has none
        return False


def _printed(tool: str, *words: str) -> list[str]:
    """The lines that a tool prints; none when it is not installed."""
    if not shutil.which(tool):
        return []
    return subprocess.run([tool, *words], capture_output=True, text=True, check=False).stdout.splitlines()
