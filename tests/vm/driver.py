"""Runs a command of a test's in the guest, as `python -m harness.vm` runs the checks: the test's guest has no Python.

driver.py CHECKOUT [--keep] CMD [ARG...]
"""

import sys
from pathlib import Path

from harness import vm, vm_foreign, vm_guest, vm_lost
from harness.vm_machine import Machine, tell

vm_foreign.complete = lambda guest: None  # type: ignore[assignment]
vm_guest.OPTIONS.update(ServerAliveInterval="1", ServerAliveCountMax="4")
vm_lost.BEAT = 5.0


def main(checkout: Path, words: list[str]) -> int:
    """The exit code of the command inside."""
    asked = vm.Words(keep=words[:1] == ["--keep"])
    machine = Machine("default", tell, checkout)
    return vm.with_results(lambda results: vm.inside(machine, ["sh", "-c", words[-1], "sh"], asked, results), checkout)


if __name__ == "__main__":
    sys.exit(vm.answered(lambda: main(Path(sys.argv[1]), sys.argv[2:])))
