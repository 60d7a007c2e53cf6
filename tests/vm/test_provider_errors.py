"""What goes wrong with a virtual machine is said in a sentence with the way out, and nothing runs on."""

import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm.conftest import CHECKOUT, Vagrant

RUBY = sorted([CHECKOUT / "Vagrantfile", *(CHECKOUT / "harness" / "vagrant").rglob("*.rb")])


@pytest.fixture(autouse=True)
def no_qemu_is_left(vagrant: Vagrant) -> Iterator[None]:
    yield
    left = vagrant.qemu
    vagrant.kill_all()
    assert left == []


def test_every_file_is_ruby_without_a_warning(vagrant_and_qemu: None) -> None:
    check = "ARGV.each { |path| RubyVM::InstructionSequence.compile_file(path) }"
    done = subprocess.run(["ruby", "-w", "-e", check, *RUBY], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


BAD = {
    "STAGES_CPUS=1": "STAGES_CPUS=1 is out of reach: give a whole number from 2 to 64, or unset it for 2",
    "STAGES_CPUS=two": "STAGES_CPUS=two is out of reach: give a whole number from 2 to 64, or unset it for 2",
    "STAGES_MEMORY=1G": "STAGES_MEMORY=1G is out of reach: give a whole number from 128 to 1048576 MiB",
    "STAGES_MEMORY=64": "STAGES_MEMORY=64 is out of reach: give a whole number from 128 to 1048576 MiB",
    "STAGES_KERNEL_ARGS=a\nb": "STAGES_KERNEL_ARGS is no kernel command line: give at most 1500 printable",
    "STAGES_KVM=yes": "STAGES_KVM=yes says neither yes nor no: set it to 1 or 0",
    "STAGES_BOX=./gone.box": "STAGES_BOX=./gone.box is no file: name a box file",
}
# Each value for itself, in one process: Vagrant takes its time to start.
TRY = """
require "vagrant"
require "#{ARGV.shift}/box"
ARGV.each do |setting|
  name, value = setting.split("=", 2)
  ENV[name] = value
  [Slirp::Settings.cpus, Slirp::Settings.memory, Slirp::Settings.kernel_args, Slirp::Settings.kvm?, Slirp::Box.given]
  puts "nothing"
rescue Slirp::Error => e
  puts e.message
ensure
  ENV.delete(name)
end
"""


def test_bad_values_are_refused(vagrant: Vagrant) -> None:
    directory = str(CHECKOUT / "harness" / "vagrant")
    command = ["ruby", "-e", TRY, directory, *BAD]
    done = subprocess.run(command, env=vagrant.environment, capture_output=True, text=True)
    for said, expected in zip(done.stdout.splitlines(), BAD.values(), strict=True):
        assert said.startswith(expected)


def test_a_bad_value_ends_vagrant_before_anything_is_made(vagrant: Vagrant) -> None:
    done = vagrant("up", STAGES_CPUS="1")
    assert done.code == 1
    assert BAD["STAGES_CPUS=1"] in done.said
    assert not (vagrant.checkout / ".vagrant" / "machines").exists()


def test_too_little_memory_is_told_before_anything_is_made(vagrant: Vagrant) -> None:
    done = vagrant("up", STAGES_MEMORY="1000000")
    assert done.code == 1
    assert "MiB of memory are free, and the virtual machine needs 1000256" in done.said
    assert not (vagrant.directory / "disk.qcow2").exists()


def test_without_qemu_its_package_is_named(vagrant: Vagrant, tmp_path: Path) -> None:
    for directory in ("/usr/bin", "/bin"):
        for program in os.scandir(directory):
            if not program.name.startswith("qemu-") and not (tmp_path / program.name).is_symlink():
                (tmp_path / program.name).symlink_to(program.path)
    done = vagrant("up", PATH=str(tmp_path))
    assert done.code == 1
    assert "qemu-system-x86_64 and qemu-img can't be found: sudo apt-get install" in done.said


def test_a_box_for_another_processor_is_refused(vagrant: Vagrant, repack: Callable[..., Path]) -> None:
    box = repack("tar xf $1; dd if=/dev/zero of=vmlinuz bs=1k count=4 conv=notrunc; tar cf $2 *")
    done = vagrant("up", STAGES_BOX=str(box))
    assert done.code == 1
    assert "has a kernel for another processor, and this machine is an x86_64: take a box for amd64" in done.said


def test_a_guest_that_ends_early_is_told_with_its_last_words(vagrant: Vagrant) -> None:
    done = vagrant("up", STAGES_KERNEL_ARGS="die")
    assert done.code == 1
    assert "the guest ended before its ssh was there. The last it said: tiny: no root file system" in done.said


def test_a_guest_whose_kernel_panics_is_told_at_once(vagrant: Vagrant) -> None:
    done = vagrant("up", STAGES_KERNEL_ARGS="rdinit=/nothing")
    assert "the guest's kernel panicked. The last it said:" in done.said
    assert "Kernel panic" in done.said


def test_a_guest_without_ssh_is_told_with_where_its_words_are(vagrant: Vagrant) -> None:
    with (vagrant.checkout / "Vagrantfile").open("a") as file:
        file.write('Vagrant.configure("2") { |config| config.vm.boot_timeout = 5 }\n')
    done = vagrant("up", STAGES_KERNEL_ARGS="mute")
    assert done.code == 1
    assert "no ssh from the guest in 5 seconds." in done.said
    assert f"{vagrant.directory}/console.log. For a new machine: vagrant destroy, then vagrant up" in done.said


def test_a_forwarded_port_that_is_taken_is_named(vagrant: Vagrant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with (vagrant.checkout / "Vagrantfile").open("a") as file:
            line = f'config.vm.network "forwarded_port", guest: 80, host: {port}'
            file.write(f'Vagrant.configure("2") {{ |config| {line} }}\n')
        done = vagrant("up")
    assert done.code == 1
    assert f"port {port} of this machine is taken, and the Vagrantfile forwards it to the guest's port 80" in done.said


def test_too_little_room_on_the_disk_is_told(vagrant: Vagrant) -> None:
    script = 'mkdir -p .vagrant && mount -t tmpfs -o size=100M tmpfs .vagrant && exec "$@"'
    vagrant.prefix = ("unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh")
    done = vagrant("up")
    assert done.code == 1
    told = r"\b(99|100) MiB are free where .vagrant lies, and the virtual machine needs 512: make room there"
    assert re.search(told, done.said)
