"""The kernel's table of mounts, read for one place and for all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.kernel import mounts
from tests.conftest import CHECKOUT

# Mounts in a mount namespace of its own, and then runs what it is given.
MOUNT = 'mkdir -p "$0" && mount -t tmpfs one "$0" && exec "$@"'


def seen(directory: Path, expression: str) -> str:
    """What Python says of `expression`, in which `d` is a directory that a tmpfs is mounted on."""
    source = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r})\nfrom stages.kernel import mounts\nd = sys.argv[1]\n"
    python = [sys.executable, "-c", f"{source}print(({expression}))", str(directory)]
    words = ["unshare", "-m", "--propagation", "private", "sh", "-ec", MOUNT, str(directory), *python]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.mark.parametrize(
    "name", ["plain", "with a blank", "with\ttab", "a\\b", "a\\040b", "two\nlines", "\u2028", "#hash"]
)
def test_a_mount_is_found_whatever_its_directory_is_called(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    assert (
        seen(directory, "mounts.at(d).source, mounts.at(d).target == d, mounts.is_mount_point(d)")
        == "('one', True, True)"
    )
    assert seen(directory, "mounts.at(d[:-1]), mounts.is_mount_point(d[:d.rindex('/')])") == "(None, False)"
    assert seen(directory, "[mount.target == d for mount in mounts.below(d[:d.rindex('/')])]") == "[True]"


def test_names_are_escaped_as_the_kernel_does() -> None:
    for name in ("a b", "a\\b", "a\\040b", "a\tb\nc", "plain"):
        assert mounts.unescape(mounts.escape(name)) == name
    assert mounts.escape("a b\\") == "a\\040b\\134"


def test_what_is_not_mounted_on_is_no_mount_point(tmp_path: Path) -> None:
    assert not mounts.is_mount_point(str(tmp_path)) and not mounts.is_mount_point(str(tmp_path / "missing/too"))
    assert mounts.is_mount_point("/proc") and mounts.at(str(tmp_path)) is None


def test_a_mount_that_is_hidden_by_another_is_in_the_table_only(tmp_path: Path) -> None:
    """Whoever removes what lies below a union has to ask the table."""
    hide = 'mkdir "$0/in" && mount -t tmpfs two "$0/in" && mount -t tmpfs three "$0"'
    words = ["unshare", "-m", "--propagation", "private", "sh", "-ec", f'{hide}; exec "$@"', str(tmp_path)]
    source = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r})\nfrom stages.kernel import mounts\nd = sys.argv[1]\n"
    source += "print(mounts.at(d + '/in').source, mounts.is_mount_point(d + '/in'))"
    done = subprocess.run([*words, sys.executable, "-c", source, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "two False\n"


def test_the_table_of_a_process_that_has_ended_is_empty() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert mounts.table(pid) == []  # a zombie
    os.waitpid(pid, 0)
    assert mounts.table(pid) == []
