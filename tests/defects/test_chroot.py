"""A chroot is no root of mounts: a container made in one would still have the machine's files above it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Stage


@pytest.mark.parametrize("place", ["a mount point", "a plain directory"])
def test_run_is_refused_in_a_chroot(stage: "Callable[[str], Stage]", tmp_path: Path, place: str) -> None:
    """Defects 1 and 2: `exec` would land on the machine's own root, since setns leads to the root of the mount namespace."""
    zocker = stage("5.8")
    assert zocker("run", "busybox", "true").code == 0
    new, inside = tmp_path / "new", "" if place == "a mount point" else "/inside"
    new.mkdir()
    script = f"""set -e
        if [ -z "{inside}" ]; then mount --rbind / "{new}"
        else mount -t tmpfs none "{new}"; mkdir "{new}/inside"
            for d in $(ls /); do
                [ -d /$d ] || continue
                mkdir "{new}/inside/$d"; mount --rbind /$d "{new}/inside/$d"
            done
        fi
        exec chroot "{new}{inside}" "$@" """
    command = [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
        *zocker.command("run", "busybox", "ls", "/"),
    ]
    done = subprocess.run(command, env=zocker.environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (125, ""), done
    assert "this is a chroot" in done.stderr and done.stderr.count("\n") == 1
