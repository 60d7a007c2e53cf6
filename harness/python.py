"""Which Python has what the harness needs: `stages` itself runs without site packages."""

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from harness.subjects import CHECKOUT

HAS = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"


def has(modules: Sequence[str]) -> bool:
    """Has this Python these modules?  A directory that only has such a name is none."""
    return all(found and found.origin for found in map(find_spec, modules))


def python_with(modules: Sequence[str]) -> str:
    """The path of a Python that has these modules; empty when there is none."""
    prepared = sorted(glob.glob(f"{CHECKOUT}/.bootstrap/*/bin/python3"))
    for python in [shutil.which("python3"), sys.executable, *prepared]:
        if (
            python
            and subprocess.run([python, "-P", "-c", HAS, *modules], capture_output=True, check=False).returncode == 0
        ):
            return python
    return ""


def environment() -> dict[str, str]:
    """Ours, so that such a Python finds the harness of this checkout and nothing else that lies around."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT)}
