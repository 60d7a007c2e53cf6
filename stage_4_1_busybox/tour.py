"""Chapter 4.1: a directory becomes the root, and what is written there stays there."""

import os
import stat

from stages.kernel import mounts
from stages.tour import Guide, are_as_before, host_mounts

ROOT_DIRECTORIES = {"bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var"}


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    guide.step(1, "The image: a root directory in a tar; and what a container sees that has it as its root")
    host = host_mounts()
    done = guide.do("run", "-ti", "sh", typed="ls\nmount")
    guide.show("ls busybox.tar busybox")
    names = done.stdout.splitlines()
    listed = [name for name in names if " on " not in name]
    guide.check("`/` holds the image's directories and nothing else", set(listed) == ROOT_DIRECTORIES)
    shown = [line.split()[2] for line in names if " on " in line]
    guide.check("`mount` shows the root, /proc and /dev, and nothing else", shown == ["/", "/proc", "/dev"])

    _seen_from_the_host(guide, host)
    _written(guide)


def _seen_from_the_host(guide: Guide, host: list[str]) -> None:
    guide.step(2, "One that stays, seen from the host")
    runtime = guide.begin("run", "sleep", "1000")
    first = guide.first(runtime)
    guide.need("it is started", first)
    kinds = [(mount.target, mount.fstype) for mount in mounts.table(first)]
    guide.show(f"cat /proc/{first}/mountinfo")
    three = [place for place, _ in kinds] == ["/", "/proc", "/dev"] and kinds[1][1] == "proc" and kinds[2][1] == "tmpfs"
    guide.check("the kernel's table for it has the same three lines, and nothing of the host's root", three)
    guide.check("its root is the image's directory", os.path.samefile(f"/proc/{first}/root", f"{guide.root}/busybox"))
    null = os.stat(f"/proc/{first}/root/dev/null")
    device = stat.S_ISCHR(null.st_mode) and (os.major(null.st_rdev), os.minor(null.st_rdev)) == (1, 3)
    guide.show(f"ls /proc/{first}/root/dev")
    guide.check("/dev/null is the device 1, 3, and no file", device)
    guide.end(runtime)
    guide.check("the host's table of mounts is as it was before", are_as_before(host))


def _written(guide: Guide) -> None:
    guide.step(3, "What it writes lands in the image: the next chapter's reason")
    guide.do("run", "sh", "-c", "echo from a container >/tmp/file")
    text = guide.show("cat busybox/tmp/file")
    guide.check("the file is in the image's directory on the host", text == "from a container\n")
    done = guide.do("run", "cat", "/tmp/file")
    guide.check("every later container of this image has it too", done.stdout == "from a container\n")
