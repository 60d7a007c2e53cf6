"""Chapter 5.7 step by step: two containers with a volume each, an image of the first one, and a third one from it."""

import re
from collections.abc import Callable
from pathlib import Path

from harness.busybox import ROOT_DIRECTORIES
from tests.seeds.terminal import CONTAINER, Terminal, mounted, names_in

ROW = re.compile(r"(\d{10}) +(\S+) +(\d+) +running +top +(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) *")
ZOCKER = "stages run 5.7 --"


def test_seed_000_a_container_with_its_volume_becomes_an_image(root: Path, terminal: Callable[[], Terminal]) -> None:
    """D20.  Two steps of the tutorial's transcript contradict the program that it shows.

    `rm` refuses a running container, so a `stop` comes first; and container3 is still there in the last tree.
    """
    host = terminal()

    # Two containers, each with a directory of the host's as its volume
    for n in ("1", "2"):
        printed = host.type(f"{ZOCKER} -v run -d --name container{n} -v /root/from{n}:/to{n} busybox top")
        # The log says how the root is put together, which volume there is, and what is to be executed.
        union = re.search(
            rf"mount -t (overlay|aufs) .*/root/writeLayer/container{n}\b.* /root/mnt/container{n}\b", printed
        )
        assert union and "/root/busybox" in union[0], printed
        assert f"/root/from{n}" in printed and f"/to{n}" in printed, printed
        assert "top" in printed.split(), printed
        assert f"container{n}" in printed.splitlines()[-1], printed

    # The kernel's own table agrees with the log
    for n in ("1", "2"):
        line = mounted(root / "mnt" / f"container{n}")
        assert f"/root/writeLayer/container{n}" in line and "/root/busybox" in line, line

    # Both are listed, and run
    header, *rows = host.type(f"{ZOCKER} ps").splitlines()
    assert header.split() == ["ID", "NAME", "PID", "STATUS", "COMMAND", "CREATED"]
    found = {match[2]: match for match in map(ROW.fullmatch, rows) if match}
    assert sorted(found) == ["container1", "container2"], rows
    for match in found.values():
        assert Path(f"/proc/{match[3]}/cmdline").read_bytes() == b"top\0"

    # A shell in the first one writes into the volume, and beside it
    host.type(f"{ZOCKER} exec container1 sh", CONTAINER)
    assert sorted(host.type("ls", CONTAINER).split()) == sorted([*ROOT_DIRECTORIES, "to1"])
    host.type('echo "hello, container1" >> to1/test1.txt', CONTAINER)
    host.type("mkdir to1-1", CONTAINER)
    host.type('echo "hello container1,to1-1,test1" >> to1-1/test1.txt', CONTAINER)
    host.type("exit")

    # Each has a write layer of its own, and of a volume there is only the mount point in it
    names = names_in(host.type("tree /root/writeLayer/"))
    assert names.index("container1") < names.index("to1") < names.index("container2"), names
    assert [name for name in names if name != "root"] == [
        "container1",
        "to1",
        "to1-1",
        "test1.txt",
        "container2",
        "to2",
    ]
    layers = root / "writeLayer"
    assert (layers / "container1/to1-1/test1.txt").read_text() == "hello container1,to1-1,test1\n"
    assert list((layers / "container1/to1").iterdir()) == []
    assert [path.name for path in (layers / "container2").iterdir()] == ["to2"]

    # What was written into the volume is on the host
    assert names_in(host.type("tree from1/")) == ["test1.txt"]
    assert host.type("cat from1/test1.txt") == "hello, container1\n"

    # An image of the first one: its path is all that is printed
    assert host.type(f"{ZOCKER} commit container1 image1") == "/root/image1.tar\n"
    host.type("mkdir image1")
    unpacked = host.type("tar -xvf image1.tar -C image1/").splitlines()
    assert {"to1/test1.txt", "to1-1/test1.txt"} <= {name.removeprefix("./") for name in unpacked}, unpacked
    assert host.type("cat /root/image1/to1-1/test1.txt") == "hello container1,to1-1,test1\n"
    assert host.type("cat /root/image1/to1/test1.txt") == "hello, container1\n"

    # A container from that image has all of it
    host.type(f"{ZOCKER} run -d --name container3 -v /root/from3:/to3 image1 top")
    line = mounted(root / "mnt" / "container3")
    assert re.search(r"/root/\S*/image1\b", line) and "/root/writeLayer/container3" in line, line
    host.type(f"{ZOCKER} exec container3 sh", CONTAINER)
    assert sorted(host.type("ls", CONTAINER).split()) == sorted([*ROOT_DIRECTORIES, "to1", "to1-1", "to3"])
    assert host.type("cat to1/test1.txt", CONTAINER) == "hello, container1\n"
    assert host.type("cat to1-1/test1.txt", CONTAINER) == "hello container1,to1-1,test1\n"
    host.type("exit")

    # The first one is removed, with its layer and its mount point; the others stay
    assert "container1 is running" in host.type(f"{ZOCKER} rm container1")
    host.type(f"{ZOCKER} stop container1")
    host.type(f"{ZOCKER} rm container1")
    names = names_in(host.type("tree /root/writeLayer/"))
    assert [name for name in names if name != "root"] == ["container2", "to2", "container3", "to3"]
    assert sorted(path.name for path in (root / "mnt").iterdir()) == ["container2", "container3"]
    assert [bool(mounted(root / "mnt" / f"container{n}")) for n in "123"] == [False, True, True]
    assert (root / "from1/test1.txt").read_text() == "hello, container1\n"
