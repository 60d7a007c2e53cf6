"""How a command runs in the guest; the guest's side of it is vm_inside.sh."""

import shlex

from harness.vm_guest import Guest
from harness.vm_push import PLACE

RUN = f"sh {PLACE}/harness/vm_inside.sh"
END = f"sh {PLACE}/harness/vm_inside.sh --end"
RESULTS = "/run/stages/results"
ALIVE = b"stages: alive"  # what a guest says on its console as long as it is
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "STAGES_IN_VM": "1",  # so /root may be used as the tutorial does
    "PYTHONUNBUFFERED": "1",  # what is printed is to come at once, though not to a terminal
}
FULL = 64  # KiB that are free on a disk that is full for a program's purposes


def script(words: list[str]) -> str:
    """The shell script that runs these words in /vagrant."""
    given = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    return f"cd / && exec env -i {shlex.join(given)} {RUN} {shlex.join(words)}"


def without_beat(console: bytes) -> bytes:
    """What the guest said on its console, without that it is alive."""
    return console.replace(ALIVE + b"\r\n", b"")


def full(guest: Guest) -> str:
    """Where the guest has no room left on a disk; empty when it has.  Raises Lost."""
    found = guest.run(f"df -Pk / /tmp /var {PLACE} | awk 'NR > 1 && $4 < {FULL} {{ print $6; exit }}'")
    return found.stdout.decode(errors="replace").strip()
