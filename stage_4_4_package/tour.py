"""Chapter 4.4, with its two terminals: in the first one a container, in the second one `commit`, and then plain tar."""

import subprocess

from stages.tour import Guide

ROOT_DIRECTORIES = ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var"]
RUNNING = ["busybox", "busybox.tar", "mnt", "writeLayer"]


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    guide.step(1, "A container with a shell, in the first terminal")
    shell = guide.begin("run", "-it", "/bin/sh")
    guide.need("the container is there", guide.first(shell))
    line = guide.mount_at(f"{guide.root}/mnt")
    guide.look(f"grep ' {guide.root}/mnt ' /proc/self/mountinfo", line)
    both = f"{guide.root}/writeLayer" in line and f"{guide.root}/busybox" in line
    guide.check("its root is the write layer over the image", both)
    guide.type(shell, "echo hello >/root/note; rm /etc/group")
    guide.show("ls")
    guide.check("there is no myimage.tar yet", guide.names() == RUNNING)
    _commit(guide, shell)
    _unpack(guide)
    guide.step(4, "The shell exits")
    guide.leave_shell(shell)
    guide.show("ls")
    left = ["busybox", "busybox.tar", "by-hand", "myimage.tar"]
    guide.check("the layers are gone, the image has stayed", guide.names() == left)
    done = guide.do("commit", "other")
    nothing = done.returncode != 0 and guide.names() == left
    guide.check("without a container there is nothing to commit, and no tar is made", nothing)
    guide.step(5, "Is it an image? In this chapter all containers come from busybox.tar, so put it there")
    guide.show("mv myimage.tar busybox.tar")
    done = guide.do("run", "cat", "/root/note")
    guide.check("a new container begins where the old one was", done.stdout == "hello\n")


def _commit(guide: Guide, shell: "subprocess.Popen[str]") -> None:
    guide.step(2, "`commit`, in the second terminal")
    done = guide.do("commit", "myimage")
    guide.check("it prints the image's path and nothing else", done.stdout == f"{guide.root}/myimage.tar\n")
    guide.remark(
        "The printed transcript has a word of the program's before the path. A path alone can be used by a script."
    )
    guide.show("ls")
    guide.check("there is myimage.tar, beside what there was", guide.names() == sorted([*RUNNING, "myimage.tar"]))
    guide.check("the container goes on", guide.type(shell, "cat /root/note") == "hello\n")


def _unpack(guide: Guide) -> None:
    guide.step(3, "Unpack it, by plain tar")
    guide.show("mkdir by-hand && cd by-hand && tar -xf ../myimage.tar && ls")
    guide.check("it is a whole root directory", guide.names("by-hand") == ROOT_DIRECTORIES)
    guide.show("cat by-hand/root/note; ls by-hand/etc")
    guide.check("it has the file that was made", guide.read("by-hand/root/note") == "hello\n")
    guide.check("it has not the one that was removed", guide.names("by-hand/etc") == ["passwd"])
    plain = guide.read("myimage.tar")[257:262] == "ustar"  # where the format has its name, if nothing is compressed
    guide.check("it is a plain tar, as its name says", plain)
    guide.remark("One telling of the tutorial packs it by gzip, and calls it .tar all the same.")
