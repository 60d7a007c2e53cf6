"""What `tox -e vm` and `stages check --vm` do on the host, with a guest that boots in a few seconds: one story.

Each test finds the machine as the one before left it. What runs inside is a test's own shell script.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, eventually
from tests.vm.conftest import Result, Vagrant

pytest.importorskip("vagrant", reason="the virtual machine's tests need python-vagrant: use ./bootstrap")

DRIVER = Path(__file__).with_name("driver.py")


class Host:
    """Our side: commands that are run inside the guest of a checkout."""

    def __init__(self, vagrant: Vagrant) -> None:
        self.vagrant = vagrant
        self.last_line = ""

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(DRIVER), str(self.vagrant.checkout), *words[:-1], "sh", words[-1]],
            env={**self.vagrant.environment, "PYTHONPATH": str(CHECKOUT)},
            cwd=self.vagrant.checkout,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *words: str) -> Result:
        process = self.start(*words)
        out, err = process.communicate(timeout=180)
        return Result(process.returncode, out, err)

    @property
    def results(self) -> Path:
        """Of the last run."""
        return max((self.vagrant.checkout / ".vagrant" / "results").iterdir())


@pytest.fixture(scope="module")
def host(vagrant: Vagrant) -> Iterator[Host]:
    shutil.copy(CHECKOUT / "harness" / "vm_inside.sh", vagrant.checkout / "harness")
    yield Host(vagrant)


def test_the_first_run_makes_the_machine_and_what_it_prints_comes_as_it_comes(host: Host) -> None:
    process = host.start("echo first; read -r go </tmp/go; echo second; exit 7".replace("read", "mkfifo /tmp/go; read"))
    assert process.stdout is not None and process.stdout.readline() == "first\n"
    assert host.vagrant.ssh("sudo sh -c 'echo >/tmp/go'").code == 0
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (7, "second\n"), err
    assert "for the first time" in err
    host.last_line = err.splitlines()[-1]


def test_afterwards_it_is_off_and_the_results_are_where_the_last_line_says(host: Host) -> None:
    assert host.vagrant.qemu == []
    assert host.last_line == f"results: {host.results.relative_to(host.vagrant.checkout)}/report.html"
    assert {file.name for file in host.results.iterdir()} >= {"output", "report.html", "dmesg", "mountinfo"}
    assert (host.results / "output").read_text() == "first\nsecond\n"


def test_the_next_run_begins_as_new_with_the_checkout_as_it_is_by_then(host: Host) -> None:
    top = host.vagrant.checkout
    (top / "gone").write_text("")
    assert host("touch /root/left /vagrant/made-inside; ls /vagrant").out.split() == [
        "Vagrantfile",
        "gone",
        "harness",
        "made-inside",
    ]
    (top / "gone").unlink()
    (top / "new one").write_text("words\n")
    done = host(
        "cat '/vagrant/new one'; ls -A /root; ls /vagrant; mkdir -p $(dirname ${1#*=}); echo '<testsuites/>' >${1#*=}"
    )
    assert done.code == 0 and "for the first time" not in done.err
    assert done.out == "words\nVagrantfile\nharness\nnew one\n"
    assert (host.results / "junit.xml").read_text() == "<testsuites/>\n"
    assert not (host.results / "dmesg").exists()


def test_a_guest_that_is_killed_is_told_as_that_and_the_next_run_begins_as_new(host: Host) -> None:
    process = host.start("echo started; sleep 600")
    assert process.stdout is not None and process.stdout.readline() == "started\n"
    host.vagrant.kill_all()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 125
    assert "has ended: its qemu was killed, or it switched itself off; the next run starts anew" in err
    assert host("echo again").out == "again\n"


def test_a_guest_that_hangs_is_told_as_that(host: Host) -> None:
    process = host.start("echo started; sleep 600")
    assert process.stdout is not None and process.stdout.readline() == "started\n"
    (qemu,) = host.vagrant.qemu
    os.kill(qemu, signal.SIGSTOP)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 125
    assert f"hangs: its qemu (process {qemu}) was stopped by a signal" in err
    assert (host.results / "console").exists()
    eventually(lambda: not host.vagrant.qemu)


def test_a_guest_without_a_network_is_told_as_that(host: Host) -> None:
    done = host("echo started; ip link set eth0 down; sleep 600")
    assert (done.code, done.out) == (125, "started\n")
    assert "has lost its network: it is alive" in done.err
    assert host.vagrant.qemu == []


def test_a_kernel_that_panics_is_told_as_that(host: Host) -> None:
    done = host("echo started; echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 600")
    assert done.code == 125
    assert "has panicked" in done.err or "has ended" in done.err
    assert "panic" in (host.results / "console").read_text(errors="replace")


def test_a_full_disk_is_told_as_that(host: Host) -> None:
    done = host("mount -t tmpfs -o size=1m none /tmp; cat /dev/zero >/tmp/zeros 2>/dev/null; exit 3")
    assert done.code == 3
    assert "stages: the guest's disk is full (/tmp), which may be why\n" in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_what_runs_and_no_qemu_stays(host: Host, number: signal.Signals) -> None:
    process = host.start("trap 'echo told; exit' INT; echo started; while :; do sleep 1; done")
    assert process.stdout is not None and process.stdout.readline() == "started\n"
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "ending what runs in the virtual machine" in err and "Traceback" not in err
    assert host.vagrant.qemu == []


def test_ctrl_c_while_the_machine_starts_leaves_no_qemu_either(host: Host) -> None:
    assert host.vagrant("destroy", "-f", "default").code == 0
    process = host.start("echo started")
    eventually(lambda: host.vagrant.qemu, 60)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert host.vagrant.qemu == []
    assert host("echo again").out == "again\n"


def test_kept_it_runs_on_and_the_next_run_begins_as_new_all_the_same(host: Host) -> None:
    assert host("--keep", "touch /root/left").code == 0
    assert len(host.vagrant.qemu) == 1
    assert host.vagrant.ssh("sudo ls /root").out == "left\n"
    assert host("ls /root").out == ""
    assert host.vagrant.qemu == []


def test_of_two_at_once_the_second_waits_and_says_so(host: Host) -> None:
    first = host.start("echo started; read -r go </tmp/go; echo first".replace("read", "mkfifo /tmp/go; read"))
    assert first.stdout is not None and first.stdout.readline() == "started\n"
    second = host.start("ls /tmp/go; echo second")
    assert second.stderr is not None
    line = second.stderr.readline()
    assert line == f"waiting: the virtual machine is in use by another command (process {first.pid}); Ctrl-C gives up\n"
    assert host.vagrant.ssh("sudo sh -c 'echo >/tmp/go'").code == 0
    assert first.communicate(timeout=60)[0] == "first\n" and first.returncode == 0
    assert second.communicate(timeout=60)[0].splitlines()[-1] == "second"


def test_a_snapshot_that_is_gone_is_told_and_the_machine_made_anew(host: Host) -> None:
    disk = next(host.vagrant.directory.glob("*.qcow2"))
    subprocess.run(["qemu-img", "snapshot", "-d", "ready", disk], check=True)
    done = host("echo again")
    assert (done.code, done.out) == (0, "again\n")
    assert re.search(
        "the snapshot `ready` can't be used, so the machine is made anew: .+\n.*for the first time", done.err
    )


def test_a_guest_that_was_half_made_by_a_run_that_was_killed_is_made_anew(host: Host) -> None:
    assert host.vagrant("destroy", "-f", "default").code == 0
    process = host.start("echo started")
    eventually(lambda: host.vagrant.qemu, 60)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    done = host("echo again")
    assert (done.code, done.out) == (0, "again\n"), done
    assert host.vagrant.qemu == []


def test_a_process_that_has_got_the_pid_of_a_qemu_is_left_alone(host: Host) -> None:
    """A stale pid file names whatever process has the number now."""
    with subprocess.Popen(["sleep", "600"]) as bystander:
        (host.vagrant.directory / "qemu.pid").write_text(f"{bystander.pid}\n")
        assert host("echo again").out == "again\n"
        assert bystander.poll() is None
        bystander.kill()
