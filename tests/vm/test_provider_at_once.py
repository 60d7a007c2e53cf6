"""The provider used twice at once, by a plain user, and ended in the middle."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.vm.conftest import Vagrant

NOBODY = 65534  # a user with a name, for ssh wants one
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@pytest.fixture
def two_of_a_plain_user(make_checkout: Callable[..., Vagrant]) -> Iterator[list[Vagrant]]:
    """Two checkouts and one home, that belong to a user who is not root."""
    directory = Path(tempfile.mkdtemp())  # where pytest has its own, only root may go
    directory.chmod(0o755)
    both = [make_checkout(directory / name, directory / "home", AS_NOBODY) for name in ("one", "two")]
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", directory], check=True)
    yield both
    for vagrant in both:
        vagrant.kill_all()
    shutil.rmtree(directory)


def test_two_checkouts_of_a_plain_user_come_up_at_once(two_of_a_plain_user: list[Vagrant]) -> None:
    processes = [vagrant.start("up") for vagrant in two_of_a_plain_user]
    ends = [(*process.communicate(timeout=300), process.returncode) for process in processes]
    assert [end[2] for end in ends] == [0, 0], ends
    assert len({vagrant.record["port"] for vagrant in two_of_a_plain_user}) == 2
    owners = [Path(f"/proc/{pid}").stat().st_uid for vagrant in two_of_a_plain_user for pid in vagrant.qemu]
    assert owners == [NOBODY, NOBODY]


def test_a_port_that_is_taken_in_the_last_moment_is_replaced(vagrant: Vagrant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with (vagrant.checkout / "harness" / "vagrant" / "ports.rb").open("a") as file:
            file.write("module Slirp::Ports; class << self; alias free any; end; end\n")
            file.write(f"def (Slirp::Ports).any = (@calls = @calls.to_i + 1) == 1 ? {taken} : free\n")
        done = vagrant("up")
        assert done.code == 0, done
    assert vagrant.record["port"] != taken


def test_a_vagrant_that_is_terminated_while_the_guest_boots_leaves_no_qemu(vagrant: Vagrant) -> None:
    assert vagrant("destroy", "-f").code == 0
    process = vagrant.start("up", STAGES_KERNEL_ARGS="mute")
    eventually(lambda: "tiny: ready" in vagrant.console, 120)
    assert len(vagrant.qemu) == 1
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    assert vagrant.qemu == []


def test_a_machine_whose_box_is_gone_is_told_and_can_be_destroyed(vagrant: Vagrant) -> None:
    shutil.rmtree(Path(vagrant.environment["VAGRANT_HOME"]) / "boxes")
    done = vagrant("up")
    assert done.code == 1
    assert "is gone: vagrant destroy, then vagrant up" in done.said
    assert vagrant("destroy", "-f").code == 0
    assert vagrant("up").code == 0
