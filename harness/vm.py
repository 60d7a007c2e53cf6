"""The virtual machine: the checks made inside it, and a learner's playground.

    python -m harness.vm test [-k EXPRESSION] [--subject FILE] [--keep]     all that is documented, on cgroup v2 and on v1
    python -m harness.vm check [X] [OPTION …]                               what `stages check` does, inside
    python -m harness.vm up | shell [X] | reset | status | destroy          the playground

Here is what a person asks for; `vm_session` has the machine, `vm_guest` the connection.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness import vm_inside, vm_play, vm_push, vm_results
from harness.vm_errors import VMError
from harness.vm_guest import Guest, Lost
from harness.vm_machine import Machine, tell
from harness.vm_session import for_tests, undisturbed

SILENCE = 600.0  # seconds without a word, after which a guest is taken to hang: no check takes so long
BAD_INPUT = 125
INTERRUPTED = 130
JUNIT = "junit.xml"
NOTHING = 5  # pytest's own: no check was chosen
CHECK = ["python3", "-m", "harness.check"]
ALL = {"default": ["python3", "-m", "harness.guest"], "cgroup1": ["python3", "-m", "harness.guest", "--limits"]}
PYTEST_SAYS = {0: 0, 1: 1, 2: INTERRUPTED}  # by pytest's own exit codes


@dataclass
class Words:
    """What was asked for of a run, apart from what only matters inside."""

    subjects: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    junit: str = ""
    keep: bool = False


def main(words: list[str]) -> int:
    """Do what the words say; the exit code is that of the checks, 125 when they could not be made, 130 after Ctrl-C."""
    match words:
        case ["test", *rest]:
            return answered(lambda: test(understood(rest)))
        case ["check", *rest]:
            return answered(lambda: check(understood(rest)))
        case _:
            return answered(lambda: vm_play.main(words))


def answered(action: Callable[[], int]) -> int:
    """Do it; what stands in its way is told in a sentence.  A signal that asks for the end is taken for Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return action()
    except VMError as error:
        tell(f"stages: {error}")
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read our output has enough
        return 141
    except OSError as error:
        tell(f"stages: {error.filename or 'the disk'}: {error.strerror}")
        return BAD_INPUT


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def understood(words: list[str]) -> Words:
    """What the words ask for.  Raises VMError."""
    asked = Words()
    rest = list(words)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if option == "--keep":
            asked.keep = True
        elif option in ("--subject", "--subjects", "--junit"):
            if not equals and not rest:
                raise VMError(f"{option} needs a value")
            value = value if equals else rest.pop(0)
            if option == "--junit":
                asked.junit = value
            else:
                asked.subjects += value.split(",") if option == "--subjects" else [value]
        else:
            asked.inside.append(option + equals + value)
    return asked


def test(asked: Words) -> int:
    """All that is documented, on each of the machines; the first exit code that is not 0."""
    machines = [Machine(name, tell) for name in ALL]

    def run(results: Path) -> int:
        codes = [inside(each, ALL[each.name], asked, results / each.name) for each in machines]
        if set(codes) == {NOTHING}:
            raise VMError(f"none of the checks is chosen by {' '.join(asked.inside)}")
        return next((PYTEST_SAYS.get(code, BAD_INPUT) for code in codes if code not in (0, NOTHING)), 0)

    return with_results(run, machines[0].checkout)


def check(asked: Words) -> int:
    """What `stages check` does, on the machine `default`."""
    machine = Machine("default", tell)

    def run(results: Path) -> int:
        code = inside(machine, CHECK, asked, results)
        if asked.junit and (results / JUNIT).is_file():
            shutil.copyfile(results / JUNIT, asked.junit)
        return code

    return with_results(run, machine.checkout)


def with_results(run: Callable[[Path], int], checkout: Path) -> int:
    """Give it a directory for results; however it ends, say last where they are, if there are some."""
    results = vm_results.directory(checkout)
    try:
        return run(results)
    except VMError as error:
        tell(f"stages: {error}")
        return BAD_INPUT
    finally:
        if vm_results.are_there(results):
            vm_results.write_page(results)
            tell(f"results: {os.path.relpath(results)}/report.html")
        else:
            shutil.rmtree(results)


def inside(machine: Machine, entry: list[str], asked: Words, results: Path) -> int:
    """Run a command inside, show what it prints, and bring back what it leaves.  Its exit code.  Raises VMError."""
    results.mkdir(exist_ok=True)
    with for_tests(machine, asked.keep) as guest:
        code = BAD_INPUT
        try:
            names = vm_push.subjects(guest, asked.subjects)
            words = [*entry, *asked.inside, *(word for name in names for word in ("--subject", name))]
            code = _followed(guest, [*words, f"--junit={vm_inside.RESULTS}/{JUNIT}"], results / "output")
            guest.fetch(vm_inside.RESULTS, results)
            if code and (place := vm_inside.full(guest)):
                tell(f"stages: the guest's disk is full ({place}), which may be why")
        finally:
            if code and machine.console:
                (results / "console").write_bytes(vm_inside.without_beat(machine.console.read_bytes()))
    return code


def _followed(guest: Guest, words: list[str], output: Path) -> int:
    """Show what a command prints inside, as it comes, and keep it too.  After Ctrl-C it is ended there as well."""
    with open(output, "wb") as kept:

        def show(printed: bytes) -> None:
            kept.write(printed)
            kept.flush()
            sys.stdout.buffer.write(printed)
            sys.stdout.buffer.flush()

        try:
            return guest.follow(vm_inside.script(words), show, SILENCE)
        except KeyboardInterrupt:
            tell("\nending what runs in the virtual machine (it takes some seconds)")
            with undisturbed(), suppress(Lost):
                guest.run(vm_inside.END)
            raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
