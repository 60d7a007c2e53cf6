"""Chapter 4.3: a directory of the host, mounted into the container, outlives it."""

import os
import subprocess

from stages.kernel import mounts
from stages.tour import Guide


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    guide.step(1, "A volume whose directory is not there yet")
    volume = ("-v", f"{guide.root}/data:/data")
    shell = guide.begin("run", *volume, "-ti", "sh")
    pid = guide.first(shell)
    guide.need("the container is there", pid)
    guide.check("the missing directory was made on the host", os.path.isdir(f"{guide.root}/data"))
    _one_directory(guide, shell, pid)
    guide.step(3, "The container ends")
    guide.leave_shell(shell)
    guide.show("ls; cat data/note")
    guide.check("the layers are gone", guide.names() == ["busybox", "busybox.tar", "data"])
    guide.check("the volume's mount is gone", not guide.mount_at(f"{guide.root}/mnt/data"))
    guide.check("the file is still on the host", guide.read("data/note") == "hello\n")
    guide.step(4, "A second container, with two volumes")
    done = guide.do(
        "run", *volume, "-v", f"{guide.root}/more:/a/b", "sh", "-c", "cat /data/note; echo hello >/a/b/note"
    )
    guide.check("it reads what the first one has written", done.stdout == "hello\n")
    guide.check(
        "its other volume works too, and directories on the way were made", guide.read("more/note") == "hello\n"
    )
    _refused(guide)


def _one_directory(guide: Guide, shell: "subprocess.Popen[str]", pid: int) -> None:
    guide.step(2, "One directory with two names")
    guide.type(shell, "echo hello >/data/note")
    guide.check("what the container writes is on the host", guide.read("data/note") == "hello\n")
    mount = mounts.at("/data", pid)
    guide.look(f"grep ' /data ' /proc/{pid}/mountinfo", mount.line if mount else "")
    guide.check("/data is a mount in the container", mount)
    guide.show(f"stat -c '%d %i' data /proc/{pid}/root/data")
    same = os.path.samefile(f"{guide.root}/data", f"/proc/{pid}/root/data")
    guide.check("it is the very directory of the host's: same device, same inode", same)
    guide.show("echo welcome >data/answer")
    guide.check("what the host writes is in the container", guide.type(shell, "cat /data/answer") == "welcome\n")
    guide.show("find writeLayer")
    empty = guide.names("writeLayer") == ["data"] and guide.names("writeLayer/data") == []
    guide.check("the write layer has only the empty directory that it is mounted on", empty)


def _refused(guide: Guide) -> None:
    guide.step(5, "A path that leads out of the container")
    done = guide.do("run", "-v", f"{guide.root}/evil:/../data", "true")
    nothing = done.returncode == 125 and not os.path.exists(f"{guide.root}/evil")
    guide.check("it is refused, and nothing was made", nothing)
