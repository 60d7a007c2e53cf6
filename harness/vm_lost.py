"""What became of a guest that is not reached any more: killed, hanging, without a network."""

import time
from contextlib import suppress
from pathlib import Path

from harness.vm_errors import VMError
from harness.vm_inside import ALIVE
from harness.vm_machine import Machine

BEAT = 8.0  # seconds in which a guest that is alive has said so, also when the machine is busy


def what_happened(machine: Machine) -> str:
    """What became of a guest that is not reached any more, as a sentence without its end."""
    name = f"the virtual machine `{machine.name}`"
    if not machine.console:
        try:
            state = machine.state()
        except VMError as error:
            return f"{name} is not reached any more, and Vagrant says: {error}"
        return f"{name} does not answer any more; its state is {state!r}"
    words = machine.console.read_bytes()
    if b"Kernel panic" in words[-20_000:]:
        return f"the kernel of {name} has panicked: see {machine.console}"
    pid = machine.process()
    if not pid:
        return f"{name} has ended: its qemu was killed, or it switched itself off"
    if is_stopped(pid):
        return f"{name} hangs: its qemu (process {pid}) was stopped by a signal"
    if beats(machine.console):
        return f"{name} has lost its network: it is alive, and is not reached by ssh"
    return f"{name} hangs: it answers neither by ssh nor on its console"


def is_stopped(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    return False


def beats(console: Path) -> bool:
    """Does the guest write to its console?"""
    before = console.read_bytes().count(ALIVE)
    end = time.monotonic() + BEAT
    while time.monotonic() < end:
        if console.read_bytes().count(ALIVE) > before:
            return True
        time.sleep(0.2)
    return False
