"""`stages vm`: a learner's playground, with a guest that boots in a few seconds: one story."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, eventually
from tests.vm.conftest import Result, Vagrant

pytest.importorskip("vagrant", reason="the virtual machine's tests need python-vagrant: use ./bootstrap")

DRIVER = Path(__file__).with_name("driver.py")


class Learner:
    """Calls `stages vm` in a checkout of the tests'."""

    def __init__(self, vagrant: Vagrant) -> None:
        self.vagrant = vagrant
        self.environment = {**vagrant.environment, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm"}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(DRIVER), str(self.vagrant.checkout), *words]

    def __call__(self, *words: str) -> Result:
        done = subprocess.run(
            self.command(*words),
            env=self.environment,
            cwd=self.vagrant.checkout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )
        return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def learner(vagrant: Vagrant) -> Iterator[Learner]:
    shutil.copy(CHECKOUT / "harness" / "vm_inside.sh", vagrant.checkout / "harness")
    yield Learner(vagrant)


def test_up_makes_it_and_leaves_it_running(learner: Learner) -> None:
    done = learner("vm", "up")
    assert (done.code, done.out) == (0, ""), done
    assert done.err.splitlines()[-1].startswith("the virtual machine is up: `stages vm shell` goes in")
    assert len(learner.vagrant.qemu) == 1


def test_up_again_keeps_what_the_learner_did_and_brings_the_checkout_as_it_is_now(learner: Learner) -> None:
    assert learner.vagrant.ssh("touch /vagrant/mine; sudo touch /root/mine").code == 0
    (learner.vagrant.checkout / "new").write_text("")
    assert learner("vm", "up").code == 0
    assert learner.vagrant.ssh("ls /vagrant; sudo ls /root").out.split() == [
        "Vagrantfile",
        "harness",
        "mine",
        "new",
        "mine",
    ]


def test_status_says_what_there_is(learner: Learner) -> None:
    done = learner("vm", "status")
    (qemu,) = learner.vagrant.qemu
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"default  running, your playground, `stages vm reset` takes seconds, qemu is process {qemu}",
        "cgroup1  not created",
    ]


def test_checks_begin_from_a_new_machine_and_the_playground_comes_back(learner: Learner) -> None:
    done = learner("sh", "ls /root; touch /root/of-the-check")
    assert (done.code, done.out) == (0, "")
    assert "your playground is kept meanwhile" in done.err
    assert learner.vagrant.ssh("sudo ls /root").out == "mine\n"
    assert len(learner.vagrant.qemu) == 1


def test_a_playground_comes_back_also_when_the_checks_were_killed(learner: Learner) -> None:
    with subprocess.Popen(
        learner.command("sh", "echo started; sleep 600"),
        env=learner.environment,
        cwd=learner.vagrant.checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout and running.stdout.readline() == "started\n"
        os.killpg(running.pid, signal.SIGKILL)
    assert learner("vm", "up").code == 0
    assert learner.vagrant.ssh("sudo ls /root").out == "mine\n"


def test_a_playground_that_was_switched_off_is_started_as_it_was(learner: Learner) -> None:
    assert learner.vagrant.ssh("sync").code == 0
    assert learner.vagrant("halt", "default").code == 0
    done = learner("vm", "up")
    assert done.code == 0 and "for the first time" not in done.err


def test_the_shell_is_roots_in_the_checkout_and_says_afterwards_what_stays(learner: Learner) -> None:
    """This guest has neither tmux nor bash: what is seen is that one gets there."""
    said = at_a_terminal(learner, ["vm", "shell", "4.2"])
    assert "the box has no tmux, so there is only the shell" in said
    assert "the virtual machine stays up" in said
    assert len(learner.vagrant.qemu) == 1


def at_a_terminal(learner: Learner, words: list[str]) -> str:
    """What a person sees."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        learner.command(*words),
        env=learner.environment,
        cwd=learner.vagrant.checkout,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        seen, end = b"", time.monotonic() + 60
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    seen += os.read(ours, 4096)
                except OSError:
                    break
        process.kill()
    os.close(ours)
    return seen.decode(errors="replace")


def test_reset_makes_it_as_new(learner: Learner) -> None:
    assert learner.vagrant.ssh("sudo touch /root/broken").code == 0
    done = learner("vm", "reset")
    assert (done.code, done.err) == (0, "the virtual machine is as new\n")
    assert learner.vagrant.ssh("sudo ls /root").out == ""


def test_a_guest_that_hangs_is_reset_too(learner: Learner) -> None:
    (qemu,) = learner.vagrant.qemu
    os.kill(qemu, signal.SIGSTOP)
    done = learner("vm", "reset")
    assert done.code == 0, done
    assert learner.vagrant.ssh("echo there").out == "there\n"


def test_destroy_removes_it(learner: Learner) -> None:
    done = learner("vm", "destroy")
    assert done.code == 0
    eventually(lambda: not learner.vagrant.qemu)
    assert learner.vagrant.state == "not_created"
    assert learner("vm", "destroy").code == 0


def test_ctrl_c_at_up_leaves_no_qemu(learner: Learner) -> None:
    with subprocess.Popen(
        learner.command("vm", "up"),
        env=learner.environment,
        cwd=learner.vagrant.checkout,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        eventually(lambda: learner.vagrant.qemu, 60)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(60) == 130
    assert learner.vagrant.qemu == []
