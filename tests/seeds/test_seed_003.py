"""Chapter 4.4 step by step, at two terminals: what a container looks like at this moment becomes an image."""

from collections.abc import Callable
from pathlib import Path

from harness.busybox import ROOT_DIRECTORIES
from tests.seeds.terminal import CONTAINER, Terminal, mounted

MYDOCKER = "stages run 4.4 --"


def test_seed_003_what_runs_is_packed_and_the_layers_go_with_it(root: Path, terminal: Callable[[], Terminal]) -> None:
    """D11.  The tutorial's upper, work and merged are here `writeLayer`, a directory out of sight, and `mnt`."""
    first, second = terminal(), terminal()

    # A shell in a container, at the first terminal
    log = first.type(f"{MYDOCKER} -v run -it /bin/sh", CONTAINER)
    assert "/root/busybox" in log and "/root/writeLayer" in log and "/root/mnt" in log, log
    line = mounted(root / "mnt")
    assert "/root/busybox" in line and "/root/writeLayer" in line, line
    first.type("echo hello >/root/note", CONTAINER)

    # At the second one: an image of it
    before = second.type("ls").split()
    assert sorted(before) == ["busybox", "busybox.tar", "mnt", "writeLayer"]
    assert second.type(f"{MYDOCKER} commit myimage") == "/root/myimage.tar\n"
    assert sorted(second.type("ls").split()) == sorted([*before, "myimage.tar"])

    # Unpacked by plain tar it is a root directory
    second.type("mkdir myimage")
    second.type("cd myimage")
    second.type("tar -xvf /root/myimage.tar")
    assert sorted(second.type("ls").split()) == sorted(ROOT_DIRECTORIES)
    assert second.type("cat root/note") == "hello\n"

    # The container goes on meanwhile, and when its shell exits the layers go
    assert first.type("cat /root/note", CONTAINER) == "hello\n"
    first.type("exit")
    assert not mounted(root / "mnt")
    assert sorted(second.type("ls /root").split()) == ["busybox", "busybox.tar", "myimage", "myimage.tar"]
