"""The tutorial's two `commit` chapters as its reader types them: on a real machine, at its own paths, in its own /root.

They begin with an empty /root and leave it so.  That is for a machine that is there for nothing else: `tox -e vm` has one.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, STAGES
from tests.seeds.terminal import Terminal

ROOT = Path("/root")
IN_VM = "STAGES_IN_VM"  # set by harness.guest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group("root"))  # there is only one /root
            if not os.environ.get(IN_VM):
                reason = "it uses this machine's own /root, so it is only for the virtual machine: tox -e vm"
                item.add_marker(pytest.mark.skip(reason=reason))


def visible() -> set[str]:
    """What a plain `ls` shows in /root."""
    return {name for name in os.listdir(ROOT) if not name.startswith(".")}


@pytest.fixture
def root() -> Iterator[Path]:
    """/root with nothing in it to be seen.  Afterwards all containers are ended, and what came is removed."""
    assert visible() == set(), "/root is not empty: this test is for a fresh virtual machine"
    assert not Path("/var/run/zocker").exists() or not os.listdir("/var/run/zocker"), "there are containers already"
    yield ROOT
    done = subprocess.run([STAGES, "reset"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in visible():
        path = ROOT / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.fixture
def terminal(root: Path) -> Iterator[Callable[[], Terminal]]:
    """Opens a terminal in /root, where `stages` is a command."""
    opened: list[Terminal] = []

    def open_one() -> Terminal:
        opened.append(Terminal(str(root), f"{CHECKOUT}/bin:{os.environ['PATH']}:/usr/sbin:/sbin"))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()
