"""A tree as images have it: files of all sizes, the same each time, and a busybox that can run in it."""

import random
import shutil
import subprocess
from pathlib import Path

MEBIBYTES, FILES = 300, 14000


def make(busybox: Path, tarball: Path, mebibytes: int = MEBIBYTES, files: int = FILES) -> None:
    """Write `tarball`: the root directory `busybox`, and `files` files that are `mebibytes` MiB together.

    Half of each file's bytes are random, so that it can be packed about as well as programs can.
    """
    dice = random.Random(1)
    tree = tarball.with_suffix(".tree")
    shutil.copytree(busybox, tree, symlinks=True)
    sizes = [dice.expovariate(1) for _ in range(files)]
    for number, size in enumerate(sizes):
        directory = tree / f"d{number // 10 % 40}" / f"e{number // 10}"
        directory.mkdir(parents=True, exist_ok=True)
        length = int(size / sum(sizes) * (mebibytes << 20))
        (directory / f"f{number}").write_bytes(dice.randbytes(length // 2) + b"words " * (length // 12))
    subprocess.run(["tar", "-C", tree, "-cf", tarball, "."], check=True)
    shutil.rmtree(tree)
