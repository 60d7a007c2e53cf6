"""The commands of `python -m harness.vm` on another checkout, with a guest that has no Python.

driver.py CHECKOUT vm up | reset | ...
driver.py CHECKOUT [--keep] sh SCRIPT       what the checks are otherwise is this shell script
"""

import os
import sys
from functools import partial
from pathlib import Path

from harness import vm, vm_foreign, vm_guest, vm_lost, vm_machine, vm_play


def run_inside(checkout: Path, keep: bool, script: str) -> int:
    """The exit code of the script inside."""
    machine = vm_machine.Machine("default", vm_machine.tell, checkout)
    entry = ["sh", "-c", script, "sh"]
    return vm.with_results(lambda results: vm.inside(machine, entry, vm.Words(keep=keep), results), checkout)


def main(checkout: Path, words: list[str]) -> int:
    vm_foreign.complete = lambda guest: None  # type: ignore[assignment]
    vm_guest.OPTIONS.update(ServerAliveInterval="1", ServerAliveCountMax="4")
    vm_lost.BEAT = 5.0
    vm_play.Machine = partial(vm_machine.Machine, checkout=checkout)  # type: ignore[misc,assignment]
    vm_play.states = partial(vm_machine.states, checkout)
    if words[0] == "vm":
        return vm.main(words[1:])
    return vm.answered(partial(run_inside, checkout, "--keep" in words, words[-1]))


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
