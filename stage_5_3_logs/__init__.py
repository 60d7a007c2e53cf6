"""5.3  What a detached container prints goes to a file; `logs` shows it, `-f` follows what is added."""

import os
import time

from stages import options
from stages.kernel import records
from stages.kernel.errors import Failure
from stages.kernel.places import Places
from stages.kernel.spec import Spec
from stages.stage import Stage as Before
from stages.stage import Steps


class Stage(Before):
    """container.log, beside the record."""

    def plan(self, spec: Spec) -> None:
        super().plan(spec)
        if spec.detached:
            spec.output = f"{spec.places.record(spec.name)}/container.log"

    def outside(self, spec: Spec) -> Steps:
        from stages.kernel import steps

        yield from super().outside(spec)
        if spec.detached:
            yield steps.CreateLog(spec.output)


def logs(places: Places, words: list[str]) -> int:
    """Copy the container's log to standard output; with -f go on until the container has ended.  Raises Failure."""
    record, path, follow = wanted(places, words)
    log = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    while True:
        alive = follow and record.is_alive()  # asked before reading: what it wrote last is still read
        while text := os.read(log, 65536):
            _print(text)
        if not alive:
            return 0
        time.sleep(0.05)


def wanted(places: Places, words: list[str]) -> tuple[records.Record, str, bool]:
    """The container that `words` name, its log, and whether to follow it.  Raises Failure when there is none."""
    found, rest = options.split("logs", words, set(), {"f"}, anywhere=True)
    record = records.find(places, options.one_name("logs", rest))
    path = f"{places.record(record.name)}/container.log"
    if not os.path.exists(path):
        raise Failure(f"{record.name} has no log: only a detached container's output goes to a file")
    return record, path, bool(found)


def _print(text: bytes) -> None:
    while text:
        text = text[os.write(1, text) :]
