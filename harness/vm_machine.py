"""The virtual machine as Vagrant has it: started, brought back, given up, by python-vagrant.

Each call of Vagrant's starts a Ruby, which takes more than half a second: what files tell is not asked of it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import vagrant

from harness.subjects import CHECKOUT
from harness.vm_errors import VMError

READY = "ready"  # the snapshot that all begins from
PLAYGROUND = "playground"  # the snapshot that keeps a learner's machine while tests have it
# What is noted of a machine, besides that it has these snapshots.
MAKING = "making"  # while it is made: what a kill left half-made is not taken for a machine
ASIDE = "aside"  # while the learner's machine is only in its snapshot


class _Vagrant(vagrant.Vagrant):  # type: ignore[misc]  # it has no types
    """As it is, for one of several machines."""

    def of(self, machine: str, *words: str) -> None:
        self._call_vagrant_command([*words[:-1], machine, words[-1]])


class Machine:
    """One machine of the Vagrantfile's: `default`, `cgroup1`.

    `tell` takes lines of progress.  All methods raise VMError with Vagrant's own words when it fails.
    """

    def __init__(self, name: str, tell: Callable[[str], None], checkout: Path = CHECKOUT) -> None:
        self.name, self.tell, self.checkout = name, tell, checkout
        self.notes = checkout / ".vagrant" / "stages" / name
        try:
            self.notes.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VMError(f"can't write in {checkout}: {error.strerror}") from None
        self._log = self.notes / "vagrant.log"

    # What files tell

    @property
    def directory(self) -> Path | None:
        """Where Vagrant keeps what it knows of the machine; None when there is none."""
        found = sorted(self.checkout.glob(f".vagrant/machines/{self.name}/*/id"))
        return found[0].parent if found else None

    @property
    def id(self) -> str:
        """The machine's own, another one after each `destroy`; empty when there is none."""
        with suppress(OSError, TypeError):
            return (self.directory / "id").read_text().strip()  # type: ignore[operator]
        return ""

    @property
    def console(self) -> Path | None:
        """The file that the guest's serial console is written to, where the provider has one."""
        file = self.directory / "console.log" if self.directory else None
        return file if file and file.is_file() else None

    @property
    def port(self) -> int | None:
        """The port of ours at which the guest's ssh is reached, another one after each start; None where only Vagrant knows."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return int(json.loads((self.directory / "machine.json").read_text())["port"])  # type: ignore[operator]
        return None

    def process(self) -> int | None:
        """The pid of the running qemu; None when there is none, or another provider has it."""
        with suppress(OSError, ValueError, TypeError):
            pid = int((self.directory / "qemu.pid").read_text())  # type: ignore[operator]
            # A zombie has no words, and another process that has got the pid since doesn't say our id.
            if self.id.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

    def is_noted(self, note: str) -> bool:
        """Was this noted of the machine as it is now, not of one that has been destroyed?"""
        with suppress(OSError):
            return bool(self.id) and (self.notes / note).read_text().strip() == self.id
        return False

    def note(self, note: str, holds: bool) -> None:
        """Note something of this machine, or that it holds no more."""
        if holds:
            (self.notes / note).write_text(self.id)
        else:
            (self.notes / note).unlink(missing_ok=True)

    # What Vagrant does

    def up(self) -> None:
        """Start it as it is on its disk; make it when there is none."""
        with self._vagrant() as it:
            for line in it.up(vm_name=self.name, stream_output=True):
                self.tell(LINE_START.split(line.rstrip())[-1])

    def save(self, snapshot: str) -> None:
        with self._vagrant() as it:
            it.of(self.name, "snapshot", "save", snapshot)

    def restore(self, snapshot: str) -> None:
        with self._vagrant() as it:
            it.of(self.name, "snapshot", "restore", snapshot)

    def delete(self, snapshot: str) -> None:
        with self._vagrant() as it:
            it.of(self.name, "snapshot", "delete", snapshot)

    def halt(self) -> None:
        """Switch it off at once: what it had not written is lost."""
        with self._vagrant() as it:
            it.halt(vm_name=self.name, force=True)

    def destroy(self) -> None:
        """Remove it and its disk, whatever state it is in."""
        with self._vagrant() as it:
            it.destroy(vm_name=self.name)
        for note in (READY, PLAYGROUND, ASIDE, MAKING):
            self.note(note, False)

    def state(self) -> str:
        """`running`, `poweroff`, `not_created`, … in the provider's word."""
        with self._vagrant() as it:
            return str(it.status(vm_name=self.name)[0].state)

    def ssh_config(self) -> str:
        with self._vagrant() as it:
            return str(it.ssh_config(vm_name=self.name))

    @contextmanager
    def _vagrant(self) -> Iterator[_Vagrant]:
        with calling(self.checkout, self._log) as it:
            yield it


def states(checkout: Path = CHECKOUT) -> dict[str, str]:
    """The state of every machine of the Vagrantfile's, as `Machine.state`.  Raises VMError."""
    with tempfile.NamedTemporaryFile(prefix="stages-vm-") as log, calling(checkout, Path(log.name)) as it:
        return {each.name: str(each.state) for each in it.status()}


@contextmanager
def calling(checkout: Path, log: Path) -> Iterator[_Vagrant]:
    """Vagrant, for the checkout's Vagrantfile; what it prints is added to the log, and told if it fails.  Raises VMError."""
    if not vagrant.get_vagrant_executable():
        raise VMError("there is no vagrant here: install it, or use ./bootstrap, which does where apt has it")
    begin = log.stat().st_size if log.exists() else 0
    output = vagrant.make_file_cm(str(log))
    environment = {**os.environ, "VAGRANT_CHECKPOINT_DISABLE": "1", "VAGRANT_NO_COLOR": "1"}
    try:
        yield _Vagrant(root=str(checkout), env=environment, out_cm=output, err_cm=output)
    except subprocess.CalledProcessError:
        raise VMError(in_one_line(log.read_bytes()[begin:].decode(errors="replace"))) from None


LINE_START = re.compile(r"\r|\x1b\[K")  # a bar of progress is painted over itself
PROGRESS = re.compile(r"(==> \S+:|    \S+:) ")  # what Vagrant puts before a line that is no error
OURS = re.compile(r"Message: Slirp::Error: (.*)")  # our Vagrantfile's own words, in Vagrant's about a broken one


def in_one_line(words: str) -> str:
    """Vagrant's reason, out of all that it has printed: the paragraph that is no progress."""
    reason = [line.strip() for line in words.splitlines() if line.strip() and not PROGRESS.match(line)]
    sentence = " ".join(reason) or "vagrant failed and did not say why"
    own = OURS.search(sentence)
    return own[1] if own else sentence


def tell(sentence: str) -> None:
    """For a person: beside the output, never in it."""
    print(sentence, file=sys.stderr, flush=True)
