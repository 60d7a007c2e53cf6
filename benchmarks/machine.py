"""The machine that figures were measured on: without it they say nothing."""

import os
import platform
import time
from pathlib import Path

from benchmarks.engines import version
from harness import init

PEERS = ("crun", "runc", "podman", "docker", "bwrap", "unshare", "tar", "pigz", "zstd")


def describe(disk: Path) -> dict[str, object]:
    """What is known of the machine, as JSON has it.  `disk` is a directory on the disk that is measured."""
    memory = Path("/proc/meminfo").read_text().split()[1]
    versions = [controllers or "v2" for _, controllers in init.cgroup_mounts()]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_MiB": int(memory) // 1024,
        "kernel": platform.release(),
        "python": f"{platform.python_version()} (measuring), {version('/usr/bin/python3')} (measured)",
        "disk": _file_system(disk),
        "control_groups": "v2" if versions == ["v2"] else "v1 and v2" if "v2" in versions else "v1",
        "peers": {name: version(name) for name in PEERS},
        "load_at_the_start": round(os.getloadavg()[0], 2),
    }


def in_words(machine: dict[str, object]) -> list[str]:
    """The same as lines of text."""
    peers = machine["peers"]
    assert isinstance(peers, dict)
    return [
        f"{machine['date']}: {machine['processors']} x {machine['processor']}, {machine['memory_MiB']} MiB, Linux"
        f" {machine['kernel']}, control groups {machine['control_groups']}, disk: {machine['disk']}",
        f"Python {machine['python']}; load when it began {machine['load_at_the_start']}",
        "; ".join(text for text in peers.values() if text),
        *(f"not installed: {name}" for name, text in peers.items() if not text),
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(directory: Path) -> str:
    """The type of the file system that the directory is on."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").split("\n")[:-1]:
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            return after.split()[0]
    return "unknown"
