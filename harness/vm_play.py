"""A learner's playground: a machine in which nothing can be broken that is not back in seconds."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harness import chapters, vm_lock, vm_push
from harness.vm_errors import VMError
from harness.vm_guest import Guest
from harness.vm_machine import ASIDE, PLAYGROUND, READY, Machine, states, tell
from harness.vm_session import alone, bring_back, connected, fresh, holds_this_checkout, off, undisturbed

USAGE = "stages vm up | shell [X] | reset | status | destroy"
MACHINES = ("default", "cgroup1")
# Two panes: the chapter's page, and a root shell. Who comes again finds them as they were.
# tmux(1) takes no dot in a session's name; a terminal that the guest does not know is taken for the most common one.
SHELL = """
cd /vagrant && export PATH=/vagrant/bin:$PATH LANG=C.UTF-8 HOME=/root SHELL=/bin/bash
infocmp "$TERM" >/dev/null 2>&1 || export TERM=xterm-256color
command -v tmux >/dev/null || {{ echo 'the box has no tmux, so there is only the shell' >&2; exec bash; }}
command -v less >/dev/null && pager=less || pager='busybox less'
exec tmux -u new-session -A -s {session} "$pager {page}; exec bash" \\; \\
    set-option -g mouse on \\; {split}
"""
SPLIT = "split-window -h bash"


def main(words: list[str]) -> int:
    """Do what the words say; the exit code.  Raises VMError."""
    match words:
        case ["up"]:
            up()
        case ["shell"]:
            return shell(chapters.NUMBERS[0])
        case ["shell", chapter]:
            return shell(chapter)
        case ["reset"]:
            reset()
        case ["status"]:
            status()
        case ["destroy"]:
            destroy()
        case _:
            raise VMError(f"vm takes one of its commands: {USAGE}")
    return 0


def up() -> None:
    """The playground is up, with this checkout in it: the learner's as it was, else a new one.  Raises VMError."""
    machine = Machine("default", tell)
    with alone(machine, with_shells=True), playing(machine):
        tell("the virtual machine is up: `stages vm shell` goes in, `stages vm reset` makes it as new")


def shell(chapter: str) -> int:
    """A root shell in the playground, beside the chapter's page; its exit code.  Raises VMError."""
    try:
        number = chapters.number_of(chapter)
    except KeyError:
        raise VMError(f"there is no chapter {chapter!r}: there are {', '.join(chapters.NUMBERS)}") from None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise VMError("vm shell needs a terminal: for a single command use `vagrant ssh -c 'CMD'`")
    machine = Machine("default", tell)
    with vm_lock.held(machine.notes / "shells", tell, shared=True):
        with alone(machine, with_shells=True), playing(machine) as guest:
            config = guest.config
        with Guest(config, machine.name) as guest:
            page = shlex.quote(f"{vm_push.PLACE}/{chapters.directory(number)}/README.md")
            session = number.replace(".", "_")
            there = guest.run(f"tmux has-session -t {session}").returncode == 0
            script = SHELL.format(session=session, page=page, split="" if there else SPLIT)
            code = subprocess.run(guest.command(script, terminal=True), check=False).returncode
    tell("the virtual machine stays up: `stages vm shell` goes back, `stages vm destroy` removes it")
    return code


@contextmanager
def playing(machine: Machine) -> Iterator[Guest]:
    """The playground, running, with the checkout as it is now.  Raises VMError."""
    if machine.is_noted(ASIDE):
        bring_back(machine)
    elif not machine.is_noted(PLAYGROUND):
        as_new(machine)
    elif not machine.process():
        machine.up()
    with connected(machine) as guest:
        vm_push.checkout(guest, machine.checkout)
        yield guest


def as_new(machine: Machine) -> None:
    """A new playground.  A failure on the way there leaves no process behind.  Raises VMError."""
    try:
        fresh(machine)
        if not holds_this_checkout(machine):
            with connected(machine) as guest:
                vm_push.checkout(guest, machine.checkout)
    except BaseException:
        with undisturbed():
            off(machine)
        raise
    machine.note(PLAYGROUND, True)


def reset() -> None:
    """The playground as new.  Raises VMError."""
    machine = Machine("default", tell)
    with alone(machine, with_shells=True):
        machine.note(ASIDE, False)
        as_new(machine)
    tell("the virtual machine is as new")


def status() -> None:
    """Print what there is.  Raises VMError."""
    found = states()
    for name in MACHINES:
        machine = Machine(name, tell)
        words = [f"{name:8} {found.get(name, 'unknown').replace('_', ' ')}"]
        if machine.is_noted(PLAYGROUND):
            words.append("your playground")
        if machine.is_noted(READY):
            words.append("`stages vm reset` takes seconds" if name == MACHINES[0] else "ready")
        if pid := machine.process():
            words.append(f"qemu is process {pid}")
        print(", ".join(words))


def destroy() -> None:
    """Remove the machines and their disks; the box stays, and building them anew takes a minute.  Raises VMError."""
    for name in MACHINES:
        machine = Machine(name, tell)
        with alone(machine, with_shells=True):
            if machine.id:
                machine.destroy()
    tell("the virtual machines are gone; `stages vm up` makes a new one")
