"""The tutorial's chapter 5.7, step by step: two containers from one image, isolated layers, an image made from one."""

import os
import tarfile

from stages.kernel.steps import tree_of
from stages.tour import Guide, eventually, numbers

ROOT_DIRECTORIES = {"bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var"}
HELLO, DEEPER = "hello, container1", "hello container1,to1-1,test1"


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    _two_containers(guide)
    _write_in_one(guide)
    _look_at_the_layers(guide)
    _make_an_image(guide)
    _run_from_it(guide)
    _remove(guide)


def _two_containers(guide: Guide) -> None:
    guide.step(1, "Two containers from one image, each with a volume of its own")
    for number in "12":
        words = ("--name", f"container{number}", "-v", f"{guide.root}/from{number}:/to{number}", "busybox", "top")
        done = guide.do("run", "-d", *words)
        guide.need(f"container{number} is started, and the runtime does not wait for it", done.returncode == 0)
    for number in "12":
        line = guide.mount_at(f"{guide.root}/mnt/container{number}")
        guide.look(f"grep ' {guide.root}/mnt/container{number} ' /proc/self/mountinfo", line)
        own = f"writeLayer/container{number}" in line and f"{guide.root}/busybox" in line
        guide.check(f"container{number}'s own write layer lies over the one image", own)
    guide.step(2, "Both are listed")
    rows = guide.ps()
    running = {
        name for name, row in rows.items() if row["STATUS"] == "running" and numbers(int(row["PID"] or 0))[1:] == ["1"]
    }
    both = running == {"container1", "container2"}
    guide.check("`ps` lists both as running, and the kernel has both: each is number 1 in there", both)


def _write_in_one(guide: Guide) -> None:
    guide.step(3, "Go into container1 and write: once into the volume, once beside it")
    lines = ["ls", f'echo "{HELLO}" >> to1/test1.txt', "mkdir to1-1", f'echo "{DEEPER}" >> to1-1/test1.txt']
    done = guide.do("exec", "container1", "sh", typed="\n".join(lines))
    guide.check("inside there is the image's root, and to1", set(done.stdout.split()) == ROOT_DIRECTORIES | {"to1"})


def _look_at_the_layers(guide: Guide) -> None:
    guide.step(4, "The write layers: what was written beside the volume is in container1's, and only there")
    guide.show("find writeLayer | sort")
    one = tree_of(f"{guide.root}/writeLayer/container1").split("\n")
    two = tree_of(f"{guide.root}/writeLayer/container2").split("\n")
    guide.check("container1's layer holds to1-1/test1.txt, and of the volume only the empty mount point to1",
                {"to1/", "to1-1/", "to1-1/test1.txt"} <= set(one) and "to1/test1.txt" not in one)  # fmt: skip
    guide.check("container2's layer holds to2 and nothing of container1's", two == ["to2/"])
    seen = set(guide.do("exec", "container2", "ls").stdout.split())
    guide.check(
        "so container2 sees the image's root, its own to2, and nothing more", seen == ROOT_DIRECTORIES | {"to2"}
    )
    guide.check("the image is as it was", not os.path.exists(f"{guide.root}/busybox/to1-1"))
    guide.step(5, "What was written into the volume is on the host")
    text = guide.show("cat from1/test1.txt")
    guide.check("the host's from1 holds test1.txt", text == f"{HELLO}\n")


def _make_an_image(guide: Guide) -> None:
    guide.step(6, "Make an image of container1")
    done = guide.do("commit", "container1", "image1")
    guide.check("`commit` prints the image's path and nothing else", done.stdout == f"{guide.root}/image1.tar\n")
    guide.show("tar -tvf image1.tar | grep to1")
    guide.say("\nUnpacked by hand, with plain tar:")
    guide.show("mkdir by-hand && tar -xf image1.tar -C by-hand && cat by-hand/to1-1/test1.txt by-hand/to1/test1.txt")
    with tarfile.open(f"{guide.root}/image1.tar") as tar:
        names = set(tar.getnames())
    guide.check("the tar holds the whole root, not only what was changed", names >= ROOT_DIRECTORIES)
    guide.check("the tar holds what the container changed", _content(guide, "to1-1/test1.txt") == DEEPER)
    guide.check("the tar holds the volume's file too", _content(guide, "to1/test1.txt") == HELLO)


def _content(guide: Guide, name: str) -> str:
    try:
        with open(f"{guide.root}/by-hand/{name}") as file:
            return file.read().strip()
    except OSError:
        return ""


def _run_from_it(guide: Guide) -> None:
    guide.step(7, "Start a third container from the new image")
    guide.do("run", "-d", "--name", "container3", "-v", f"{guide.root}/from3:/to3", "image1", "top")
    done = guide.do("exec", "container3", "sh", typed="ls\ncat to1/test1.txt\ncat to1-1/test1.txt")
    words = done.stdout.splitlines()
    guide.check("it has to1 and to1-1 from the image, and its own to3", {"to1", "to1-1", "to3"} <= set(words))
    guide.check("both files read as container1 wrote them", words[-2:] == [HELLO, DEEPER])


def _remove(guide: Guide) -> None:
    guide.step(8, "Remove container1")
    refused = guide.do("rm", "container1")
    guide.remark(
        "The printed transcript removes container1 here without stopping it. Its own program refuses that, and so do we."
    )
    guide.check(
        "a running container is not removed",
        refused.returncode != 0 and _layers(guide) == ["container1", "container2", "container3"],
    )
    guide.do("stop", "container1")
    row = guide.ps()["container1"]
    guide.check("`ps` now says stopped, with no PID", (row["STATUS"], row["PID"]) == ("stopped", ""))
    done = guide.do("rm", "container1")
    guide.show("find writeLayer -maxdepth 1 | sort")
    guide.remark(
        "The printed transcript lists only container2 here. It had started container3 meanwhile, so that one is there too."
    )
    gone = eventually(lambda: not guide.mount_at(f"{guide.root}/mnt/container1"))
    guide.check("container1's write layer and mount are gone", done.returncode == 0 and gone and "container1" not in _layers(guide)
                and not os.path.exists(f"{guide.root}/mnt/container1"))  # fmt: skip
    guide.check("container2's and container3's are still there", _layers(guide) == ["container2", "container3"]
                and guide.mount_at(f"{guide.root}/mnt/container2") and guide.mount_at(f"{guide.root}/mnt/container3"))  # fmt: skip
    guide.check("the volume's file outlived the container", os.path.exists(f"{guide.root}/from1/test1.txt"))


def _layers(guide: Guide) -> list[str]:
    return sorted(os.listdir(f"{guide.root}/writeLayer"))
