"""The tutorial's two `commit` chapters as its reader types them: on a real machine, at its own paths, in its own /root.

They begin with an empty /root and leave it so.  That is for a machine that is there for nothing else: `tox -e vm` has one.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, STAGES
from tests.seeds.terminal import Terminal

ROOT = Path("/root")
IN_VM = "STAGES_IN_VM"  # set by harness.vm
LOCK = "/run/lock/stages-seeds"


def pytest_itemcollected(item: pytest.Item) -> None:
    if not os.environ.get(IN_VM):
        reason = "it uses this machine's own /root, so it is only for the virtual machine: tox -e vm"
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """There is only one /root: of several processes that make tests one has it at a time, also before and after its test."""
    if item.path.parent != Path(__file__).parent or not os.environ.get(IN_VM):
        return (yield)
    with open(LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return (yield)


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
