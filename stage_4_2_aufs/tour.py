"""Chapter 4.2: what a container writes lands in a layer above the image, and is gone when it ends."""

import os
import stat
import subprocess

from stages.kernel import mounts
from stages.tour import Guide

CAT = "cat:x:7:7::/:/bin/sh"


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    guide.do("run", "true")  # it makes the image
    image = _image(guide)
    guide.step(1, "Two directories, seen as one")
    shell = guide.begin("run", "-ti", "sh")
    guide.need("the container is there", guide.first(shell))
    line = guide.mount_at(f"{guide.root}/mnt")
    guide.look(f"grep ' {guide.root}/mnt ' /proc/self/mountinfo", line)
    both = f"{guide.root}/writeLayer" in line and f"{guide.root}/busybox" in line
    guide.need("mnt is a mount: the write layer above, the image below", both)
    _write(guide, shell)
    _share(guide)
    guide.step(4, "The end")
    guide.check("the shell is left, and `run` ends with its exit code", guide.leave_shell(shell) == 0)
    guide.show("ls")
    guide.check("only the image and its tar are left", guide.names() == ["busybox", "busybox.tar"])
    guide.check("the image is as it was", _image(guide) == image)
    words = guide.do("run", "ls", "/", "/etc").stdout.split()
    as_new = "group" in words and "note" not in words
    guide.check("the next container sees the image, and nothing of what the last one did", as_new)


def _image(guide: Guide) -> list[object]:
    return [guide.names("busybox"), guide.names("busybox/etc"), guide.read("busybox/etc/passwd")]


def _write(guide: Guide, shell: "subprocess.Popen[str]") -> None:
    guide.step(2, "A new file, a changed one, a removed one")
    guide.type(shell, "echo hello >/note")
    guide.type(shell, f"echo {CAT} >>/etc/passwd")
    guide.type(shell, "rm /etc/group")
    guide.show("find writeLayer | sort; ls -l writeLayer/etc")
    guide.check("the new file is in the write layer", guide.read("writeLayer/note") == "hello\n")
    guide.check("it is in the merged view too", guide.read("mnt/note") == "hello\n")
    guide.check("it is not in the image", guide.names("busybox") and "note" not in guide.names("busybox"))
    whole = guide.read("busybox/etc/passwd") + f"{CAT}\n"
    guide.check(
        "the changed file was copied up, all of it, and changed there", guide.read("writeLayer/etc/passwd") == whole
    )
    guide.check(
        "the removed file has left a mark in the write layer", _is_whiteout(f"{guide.root}/writeLayer/etc/group")
    )
    hidden = "group" in guide.names("busybox/etc") and "group" not in guide.names("mnt/etc")
    guide.check("the mark hides it: it is in the image, and not in the view", hidden)


def _is_whiteout(path: str) -> bool:
    """Is this how overlay, or aufs, notes that a file of the lower layer is removed?"""
    if os.path.lexists(os.path.join(os.path.dirname(path), f".wh.{os.path.basename(path)}")):
        return True
    found = os.lstat(path)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _share(guide: Guide) -> None:
    guide.step(3, "A second container, while the first one runs")
    done = guide.do("run", "cat", "/note")
    lines = [mount.line for mount in mounts.table() if mount.target == f"{guide.root}/mnt"]
    guide.check("in this chapter all share one layer and one mount", done.stdout == "hello\n" and len(lines) == 1)
