"""The provider of the Vagrantfile, with a guest that boots in a few seconds: a machine's whole life, as one story.

Each test finds the machine as the one before left it.
"""

import os
import signal
import socket
import time

import pytest

from tests.conftest import eventually
from tests.vm.conftest import Vagrant, monitor


def test_the_first_up_builds_the_box_and_boots_also_from_a_path_with_blanks_and_commas(vagrant: Vagrant) -> None:
    (vagrant.checkout / "a page.md").write_text("first\n")
    (vagrant.checkout / ".git").mkdir()
    done = vagrant("up")
    assert done.code == 0, done
    assert "building the box" in done.out
    assert vagrant.ssh("cat '/vagrant/a page.md'").out == "first\n"
    assert vagrant.ssh("ls -A /vagrant").out.split("\n") == ["Vagrantfile", "a page.md", "harness", ""]
    assert len(vagrant.qemu) == 1


def test_ssh_passes_the_commands_output_and_exit_code(vagrant: Vagrant) -> None:
    done = vagrant("ssh", "-c", "uname -s; exit 42")
    assert (done.code, done.out) == (42, "Linux\n")


def test_the_guest_reaches_nothing_outside(vagrant: Vagrant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(2)
        port = server.getsockname()[1]
        assert vagrant.ssh(f"nc -w 2 10.0.2.2 {port} </dev/null").code != 0  # by this address it knows this machine
        with pytest.raises(TimeoutError):
            server.accept()


def test_up_once_more_copies_what_is_new_and_removes_what_is_gone_but_not_what_the_guest_made(vagrant: Vagrant) -> None:
    before = vagrant.qemu
    vagrant.ssh("echo mine >/vagrant/made-there")
    (vagrant.checkout / "a page.md").unlink()
    (vagrant.checkout / "another.md").write_text("second\n")
    done = vagrant("up", RECIPE="another")
    assert done.code == 0, done
    assert "It was made from the box stages/recipe, and now stages/another is asked for: vagrant destroy" in done.said
    assert vagrant.ssh("ls -A /vagrant").out.split() == ["Vagrantfile", "another.md", "harness", "made-there"]
    assert vagrant.qemu == before


def test_a_snapshot_brings_back_what_was_and_the_clock_is_right_all_the_same(vagrant: Vagrant) -> None:
    vagrant.ssh("sleep 4321 >/dev/null 2>&1 & echo before >/tmp/state; date -s @1000000000")
    assert vagrant("snapshot", "save", "ready").code == 0
    vagrant.ssh("killall sleep; echo after >/tmp/state")
    done = vagrant("snapshot", "restore", "ready")
    assert done.code == 0, done
    assert vagrant.ssh("cat /tmp/state").out == "before\n"
    assert "sleep 4321" in vagrant.ssh("ps").out
    assert abs(int(vagrant.ssh("date +%s").out) - time.time()) < 60


def test_push_and_pop_are_a_snapshot_and_its_end(vagrant: Vagrant) -> None:
    assert vagrant("snapshot", "push").code == 0
    assert "push_" in vagrant("snapshot", "list", "default").out
    vagrant.ssh("echo after >/tmp/state")
    assert vagrant("snapshot", "pop").code == 0
    assert vagrant.ssh("cat /tmp/state").out == "before\n"
    assert vagrant("snapshot", "list", "default").out.split() == ["==>", "default:", "ready"]


def test_a_name_that_qemus_monitor_could_misread_is_refused(vagrant: Vagrant) -> None:
    done = vagrant("snapshot", "save", 'ready"; quit')
    assert done.code == 1
    assert "can't name a snapshot: begin with a letter" in done.said
    assert vagrant.snapshots == ["ready"]


def test_a_snapshot_of_a_machine_with_other_memory_is_refused_and_nothing_is_lost(vagrant: Vagrant) -> None:
    os.kill(vagrant.qemu[0], signal.SIGKILL)
    done = vagrant("snapshot", "restore", "ready", STAGES_MEMORY="200")
    assert done.code == 1
    assert 'ready was taken with STAGES_MEMORY "160", and now it is "200"' in done.said
    assert vagrant.snapshots == ["ready"]


def test_after_qemu_was_killed_the_machine_is_off_and_its_snapshot_can_be_restored(vagrant: Vagrant) -> None:
    assert vagrant.state == "poweroff"
    assert vagrant("snapshot", "restore", "ready").code == 0
    assert vagrant.ssh("cat /tmp/state").out == "before\n"


def test_suspend_frees_the_memory_and_resume_goes_on(vagrant: Vagrant) -> None:
    assert vagrant("suspend").code == 0
    assert vagrant.qemu == []
    assert vagrant.state == "saved"
    done = vagrant("ssh", "-c", "true")
    assert (done.code, "default is suspended: vagrant resume default" in done.said) == (1, True)
    assert vagrant("resume").code == 0
    assert "sleep 4321" in vagrant.ssh("ps").out
    assert abs(int(vagrant.ssh("date +%s").out) - time.time()) < 60
    assert vagrant.snapshots == ["ready"]


def test_a_machine_that_stands_still_is_told_and_goes_on(vagrant: Vagrant) -> None:
    monitor(vagrant.directory, "stop")
    assert vagrant.state == "paused"
    assert vagrant("up").code == 0
    assert vagrant.ssh("true").code == 0


def test_a_second_vagrant_is_told_who_is_at_work_and_a_dead_ones_lock_is_no_hindrance(vagrant: Vagrant) -> None:
    lock = vagrant.directory.parent / "slirp.lock"
    holder = vagrant.hold(lock)
    done = vagrant("halt", "default")
    assert done.code == 1
    assert f"another vagrant (process {holder.pid}) is at work on this machine: wait until it is done" in done.said
    assert len(vagrant.qemu) == 1
    holder.kill()
    holder.communicate()
    done = vagrant("halt", "default")
    assert done.code == 0, done
    assert vagrant.qemu == []


def test_a_broken_snapshot_is_told_with_the_way_out_which_works(vagrant: Vagrant) -> None:
    disk = vagrant.directory / "disk.qcow2"
    data = disk.read_bytes()
    assert b"QEVM" in data  # how the saved state of a machine begins
    disk.write_bytes(data.replace(b"QEVM", b"VOID"))
    done = vagrant("snapshot", "restore", "ready")
    assert done.code == 1
    assert "the snapshot ready can't be loaded" in done.said
    assert "vagrant snapshot delete ready, then vagrant up" in done.said
    assert vagrant("snapshot", "delete", "ready").code == 0
    assert vagrant("up").code == 0


def test_destroy_leaves_no_process_and_no_disk(vagrant: Vagrant) -> None:
    assert vagrant("destroy", "-f").code == 0
    assert vagrant.qemu == []
    assert not (vagrant.directory / "disk.qcow2").exists()
    assert vagrant.state == "not_created"


def test_ctrl_c_while_it_boots_leaves_nothing(vagrant: Vagrant) -> None:
    process = vagrant.start("up", STAGES_KERNEL_ARGS="mute")
    eventually(lambda: "tiny: ready" in vagrant.console, 120)
    assert len(vagrant.qemu) == 1
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert vagrant.qemu == []
    assert not (vagrant.directory / "disk.qcow2").exists()
