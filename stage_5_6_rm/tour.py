"""The tutorial's chapter 5.6, step by step: what a container called bird is on the machine, and how all of it goes."""

import os
import subprocess

from stages.tour import Guide, eventually, numbers

VIEW, VOLUME, GROUP, FILES, LAYER = (
    "its view",
    "its volume's mount",
    "its control group",
    "its files",
    "its write layer",
)
ALL = [VIEW, VOLUME, GROUP, FILES, LAYER]


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    guide.step(1, "A container with a volume, and all that it is on the machine")
    guide.show("mkdir data && echo precious >data/note")
    guide.do("run", "-d", "--name", "bird", "-v", f"{guide.root}/data:/data", "sh", "-c", "echo hello >/x; exec top")
    row = guide.ps()["bird"]
    first = int(row["PID"] or 0)
    guide.need("`ps` has it, and the kernel its process", numbers(first)[1:] == ["1"])
    guide.check(f"{', '.join(ALL)}: all are there", _there(guide, row["ID"]) == ALL)
    _refuse(guide, first, row["ID"])
    _busy(guide, row["ID"])
    _remove(guide, row["ID"])
    _ended_by_itself(guide)


def _there(guide: Guide, container: str) -> list[str]:
    """Look at the tables, and say what of the container is there."""
    mounts = guide.show(f"grep -o ' {guide.root}/mnt[^ ]*' /proc/self/mountinfo").split()
    groups = guide.show(f"find /sys/fs/cgroup -name {container}").split()
    files = guide.show(f"ls {guide.state}/bird").split()
    layer = guide.show("ls -d writeLayer").split()
    found = {
        VIEW: f"{guide.root}/mnt" in mounts,
        VOLUME: f"{guide.root}/mnt/data" in mounts,
        GROUP: groups,
        FILES: files == ["config.json", "container.log"],
        LAYER: layer,
    }
    return [what for what in ALL if found[what]]


def _refuse(guide: Guide, first: int, container: str) -> None:
    guide.step(2, "Remove it while it runs")
    refused = guide.do("rm", "bird")
    guide.check("a running container is refused", refused.returncode != 0)
    guide.check("it runs on, and all is still there", numbers(first) and _there(guide, container) == ALL)


def _busy(guide: Guide, container: str) -> None:
    guide.step(3, "Stop it, and remove it while somebody works in its volume")
    guide.do("stop", "bird")
    guide.say(f"\n# (cd {guide.root}/mnt/data; sleep 1000) &")
    somebody = subprocess.Popen(["sleep", "1000"], cwd=f"{guide.root}/mnt/data", text=True)
    guide.begun.append(somebody)
    refused = guide.do("rm", "bird")
    guide.check(
        "a busy mount stops the removal, and nothing was removed",
        refused.returncode != 0 and _there(guide, container) == ALL,
    )
    guide.check("the host's data is untouched", guide.show("cat data/note") == "precious\n")
    guide.say("\n# kill %1")
    somebody.terminate()
    somebody.wait()


def _remove(guide: Guide, container: str) -> None:
    guide.step(4, "Nobody is left: remove it")
    done = guide.do("rm", "bird")
    guide.check(f"{', '.join(ALL)}: none is there", done.returncode == 0 and _there(guide, container) == [])
    guide.check("`ps` does not list it", "bird" not in guide.ps())
    kept = guide.show("ls; cat data/note").split()
    guide.check(
        "the image is kept for the next container, the data for the host",
        kept == ["busybox", "busybox.tar", "data", "precious"],
    )


def _ended_by_itself(guide: Guide) -> None:
    guide.step(5, "One that ended by itself")
    guide.do("run", "-d", "--name", "moth", "true")
    eventually(lambda: guide.ps()["moth"]["STATUS"] == "exited")
    done = guide.do("rm", "moth")
    guide.check("it needs no `stop` before", done.returncode == 0 and not os.path.exists(f"{guide.state}/moth"))
