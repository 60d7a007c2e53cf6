"""Measures run, exec, ps and commit beside the tools that are installed here, prints a table, and cleans up."""

import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.pairs import HEADER, compare

CHECKOUT = Path(__file__).resolve().parent.parent
ZOCKER = str(CHECKOUT / "bin" / "zocker")
ROUNDS = 20
MEBIBYTES, FILES = 300, 14000

# What a person would do by hand to run a command on a layer of its own: union, runtime, and away with it.
BY_HAND = """
set -e
d=$(mktemp -d -p "$1")
trap 'cd /; umount "$d/rootfs"; rm -rf "$d"' EXIT
mkdir "$d/upper" "$d/work" "$d/rootfs"
mount -t overlay overlay -o "lowerdir=$1/busybox,upperdir=$d/upper,workdir=$d/work" "$d/rootfs"
cp "$1/config.json" "$d/"
cd "$d"
"$2" run "bench${d##*.}" </dev/null
"""


def main() -> int:
    """Measure everything; 1 when this machine can't."""
    if os.geteuid() != 0:
        print("benchmarks: this needs root, since it makes containers", file=sys.stderr)
        return 1
    memory = Path(tempfile.mkdtemp(prefix="zocker-bench.", dir="/dev/shm"))
    environment = {"ZOCKER_ROOT": str(memory), "ZOCKER_STATE": str(memory / "state")}
    try:
        print(
            f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
        )
        print(f"{ROUNDS} pairs each, in turn; all on a tmpfs\n\n{HEADER}")
        _zocker(environment, "run", "busybox", "true")
        _starts(memory, environment)
        _commits(memory, environment)
    finally:
        subprocess.run(
            [CHECKOUT / "bin" / "stages", "reset"], env={**os.environ, **environment}, capture_output=True, check=False
        )
        shutil.rmtree(memory, ignore_errors=True)
    return 0


def _starts(memory: Path, environment: dict[str, str]) -> None:
    run = [ZOCKER, "run", "busybox", "true"]
    for runtime in ("runc", "crun"):
        if not shutil.which(runtime):
            print(f"run true / overlay by shell + {runtime}: {runtime} is not installed")
            continue
        _write_bundle(memory, runtime)
        theirs = ["sh", "-c", BY_HAND, "sh", str(memory), runtime]
        failed = subprocess.run(theirs, capture_output=True, text=True, check=False)
        if failed.returncode:
            print(f"run true / overlay by shell + {runtime}: it refused: {failed.stderr.strip().splitlines()[-1:]}")
            continue
        print(compare(run, theirs, ROUNDS, environment).row(f"run true / overlay by shell + {runtime}"))
    print(
        compare(run, ["/usr/bin/python3", "-IS", "-c", "pass"], ROUNDS, environment).row(
            "run true / Python's bare start"
        )
    )
    _zocker(environment, "run", "-d", "--name", "bench", "busybox", "sleep", "10000")
    by_hand = _nsenter(memory)
    print(compare([ZOCKER, "exec", "bench", "true"], by_hand, ROUNDS, environment).row("exec true / nsenter true"))
    print(compare([ZOCKER, "ps"], ["ps", "-e"], ROUNDS, environment).row("ps / ps -e"))
    _zocker(environment, "rm", "-f", "bench")


def _write_bundle(memory: Path, runtime: str) -> None:
    (memory / "config.json").unlink(missing_ok=True)
    subprocess.run([runtime, "spec"], cwd=memory, check=True)
    spec = json.loads((memory / "config.json").read_text())
    spec["process"]["terminal"] = False
    spec["process"]["args"] = ["true"]
    (memory / "config.json").write_text(json.dumps(spec))


def _nsenter(memory: Path) -> list[str]:
    pid = json.loads((memory / "state" / "bench" / "config.json").read_text())["pid"]
    return ["nsenter", "-t", pid, "-i", "-u", "-n", "-p", "-m", "/bin/true"]


def _commits(memory: Path, environment: dict[str, str]) -> None:
    _make_big_image(memory)
    _zocker(environment, "run", "-d", "--name", "bench", "big", "sleep", "10000")
    tar = ["tar", "-C", f"{memory}/mnt/bench", "-cf", f"{memory}/theirs.tar", "."]
    name = f"commit / tar -cf, {MEBIBYTES} MiB, {FILES} files"
    print(compare([ZOCKER, "commit", "bench", "ours"], tar, ROUNDS, environment).row(name))
    _zocker(environment, "rm", "-f", "bench")


def _make_big_image(memory: Path) -> None:
    """A tree with files of all sizes, the same each time, and the busybox that is to run in it."""
    dice = random.Random(1)
    tree = memory / "tree"
    shutil.copytree(memory / "busybox", tree, symlinks=True)
    sizes = [dice.expovariate(1) for _ in range(FILES)]
    for number, size in enumerate(sizes):
        directory = tree / f"d{number % 40}" / f"e{number // 10}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(dice.randbytes(int(size / sum(sizes) * (MEBIBYTES << 20))))
    subprocess.run(["tar", "-C", tree, "-cf", memory / "big.tar", "."], check=True)
    shutil.rmtree(tree)


def _zocker(environment: dict[str, str], *words: str) -> None:
    subprocess.run([ZOCKER, *words], env={**os.environ, **environment}, check=True, capture_output=True)


sys.exit(main())
