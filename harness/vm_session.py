"""A session: a machine as new, a connection to it, and afterwards no process of it left, whatever happened meanwhile."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from harness import vm_foreign, vm_lock, vm_push
from harness.vm_errors import VMError
from harness.vm_guest import Guest, Lost
from harness.vm_lost import what_happened
from harness.vm_machine import ASIDE, MAKING, PLAYGROUND, READY, Machine, tell

ASKED = "asked"  # noted when `ssh_config` is this machine's
DIGEST = "digest"  # of the checkout that the snapshot holds
# What is made once and then kept: bytecode, pytest's own too, and in memory what was read. A few checks make most of it;
# what they come to, and whether they end at all, is told by the run that the machine is made for.
COMPILE = "python3 -m compileall -q harness stages stage_* tests"
CHECKS = "env STAGES_IN_VM=1 timeout 600 python3 -m harness.guest -n0 -k stage_commit"
WARM = f"cd {vm_push.PLACE} && {COMPILE}; {CHECKS} || :"


@contextmanager
def alone(machine: Machine, *, with_shells: bool = False) -> Iterator[None]:
    """Nobody else uses the machine meanwhile; with `with_shells` but for shells that are open in it."""
    notes = machine.notes
    with vm_lock.held(notes / "lock", tell):
        if with_shells:
            yield
        else:
            with vm_lock.held(notes / "shells", tell):
                yield


@contextmanager
def for_tests(machine: Machine, keep: bool) -> Iterator[Guest]:
    """The machine as new, with the checkout in it.  A learner's own is set aside meanwhile, and brought back.

    Afterwards it is off, or with `keep` left as it is.  Raises VMError, which says what became of a guest that was lost.
    """
    with alone(machine):
        aside = set_aside(machine)
        lost = False
        try:
            fresh(machine)
            with connected(machine) as guest:
                if not holds_this_checkout(machine):
                    vm_push.checkout(guest, machine.checkout)
                yield guest
        except Lost as error:
            lost = True
            raise VMError(f"{what_happened(machine)}; the next run starts anew") from error
        finally:
            with undisturbed():
                if lost or not (keep or aside):
                    off(machine)
                if aside:
                    bring_back(machine)


def fresh(machine: Machine) -> None:
    """The machine as it was when it was new: by its snapshot, or made.  Raises VMError."""
    if (machine.notes / MAKING).exists():
        machine.destroy()
    if machine.is_noted(READY):
        try:
            machine.restore(READY)
            return
        except VMError as error:
            if machine.is_noted(ASIDE):
                raise VMError(
                    f"{error} (`stages vm destroy` gives up your playground too, and the next run starts anew)"
                ) from None
            tell(f"the snapshot `{READY}` can't be used, so the machine is made anew: {error}")
            machine.destroy()
    make(machine)


def make(machine: Machine) -> None:
    """Start the machine for the first time, prepare it, and take the snapshot that all begins from.  Raises VMError."""
    tell(f"starting the virtual machine `{machine.name}` for the first time: this takes a minute or two")
    if not machine.id:  # else it is a person's own, by `vagrant up`
        (machine.notes / MAKING).touch()
    try:
        machine.up()
        with connected(machine) as guest:
            vm_foreign.complete(guest)
            was = vm_push.digest(machine.checkout)
            vm_push.checkout(guest, machine.checkout)
            guest.run(WARM, timeout=900)
        machine.save(READY)
    except BaseException:
        with undisturbed():
            off(machine)  # its console can be looked at, until the next run destroys it
        raise
    machine.note(READY, True)
    (machine.notes / DIGEST).write_text(was)
    (machine.notes / MAKING).unlink(missing_ok=True)


def holds_this_checkout(machine: Machine) -> bool:
    """Is the checkout in the snapshot what it is now?"""
    with suppress(OSError):
        return (machine.notes / DIGEST).read_text() == vm_push.digest(machine.checkout)
    return False


def connected(machine: Machine) -> Guest:
    """A connection to the running guest, to be used with `with`.  Raises VMError.

    Vagrant is asked once for a machine; later only the port is another one.
    """
    config = machine.notes / "ssh_config"
    if not (machine.port and machine.is_noted(ASKED)):
        config.write_text(machine.ssh_config())
        machine.note(ASKED, True)
    lines = config.read_text().splitlines()
    if machine.port:
        lines = [f"  Port {machine.port}" if line.split()[:1] == ["Port"] else line for line in lines]
    return Guest("\n".join([*lines, ""]), machine.name)


# A learner's own machine


def set_aside(machine: Machine) -> bool:
    """Keep a learner's machine as a snapshot while tests have it.  Was there one?"""
    if machine.is_noted(ASIDE):
        return True  # by a run that was killed
    if not machine.is_noted(PLAYGROUND):
        return False
    tell("your playground is kept meanwhile, and comes back afterwards")
    if not machine.process():
        machine.up()  # a disk alone is not kept
    machine.save(PLAYGROUND)
    machine.note(ASIDE, True)
    return True


def bring_back(machine: Machine) -> None:
    """The learner's machine as it was set aside.  Raises VMError."""
    machine.restore(PLAYGROUND)
    machine.note(ASIDE, False)
    with suppress(VMError):
        machine.delete(PLAYGROUND)


# The end


@contextmanager
def undisturbed() -> Iterator[None]:
    """A second Ctrl-C doesn't interrupt what is done because of the first, here or in a child."""
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def off(machine: Machine) -> None:
    """Switch it off, by force where Vagrant can't."""
    with suppress(VMError):
        machine.halt()
    if pid := machine.process():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
