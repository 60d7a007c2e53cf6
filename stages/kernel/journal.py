"""What a container has done to the machine so far, on disk.

Each step is written down before it is done, so that nothing that kills us loses track of anything: undo needs the
journal alone.  A write that returned is in the kernel's memory, and survives any kill of ours, so nothing is synced; after
a power cut the mounts and cgroups are gone by themselves, and ext4 keeps the rest to within a few seconds.

One line is one JSON value: first who we are, then the steps, and the process as soon as there is one.
"""

import errno
import os

from stages.kernel import jsontext, life, mounts
from stages.kernel.errors import Failure
from stages.kernel.step import Step


class Journal:
    """The journal of one container, open for writing. `home` is the directory that holds it."""

    def __init__(self, home: str) -> None:
        self.path = f"{home}/journal"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self.fd = os.open(self.path, flags, 0o600)

    def begin(self, container: dict[str, object]) -> None:
        """Write down who the container is and where (which boot, which mount namespace) its steps are done."""
        self._write({"container": container, "boot": life.boot_id(), "mount_namespace": mounts.namespace()})

    def intend(self, step: Step) -> None:
        """Write down that `step` is about to be done, and what is there before it."""
        self._write({"step": type(step).__name__, "fields": step.fields(), "before": step.look()})

    def started(self, pid: int, start_time: int) -> None:
        """Write down which process is the container's PID 1."""
        self._write({"pid": pid, "start_time": start_time})

    def _write(self, line: dict[str, object]) -> None:
        text = (jsontext.dumps(line) + "\n").encode("ascii")
        try:
            written = os.write(self.fd, text)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from None
        if written != len(text):  # a full disk takes part of a line
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)

    def close(self) -> None:
        """Close the file; the journal stays."""
        os.close(self.fd)


class Done:
    """A journal as it is read back.

    `container` is who it was; `boot` and `mount_namespace` where its steps were done; `steps` what was done, in order:
    (class name, fields, before); `pid` and `start_time` its process, 0 when none was started.
    """

    def __init__(self, home: str) -> None:
        self.container: dict[str, object] = {}
        self.boot = self.mount_namespace = ""
        self.steps: list[tuple[str, dict[str, object], dict[str, object]]] = []
        self.pid = self.start_time = 0
        for line in _lines(f"{home}/journal"):
            self._take(line)

    def _take(self, line: dict[str, object]) -> None:
        match line:
            case {"step": str(name), "fields": dict(fields), "before": dict(before)}:
                self.steps.append((name, fields, before))
            case {"pid": int(pid), "start_time": int(start_time)}:
                self.pid, self.start_time = pid, start_time
            case {"container": dict(container), "boot": str(boot), "mount_namespace": str(namespace)}:
                self.container, self.boot, self.mount_namespace = container, boot, namespace

    def is_alive(self) -> bool:
        """True while the container's own process runs."""
        return life.is_alive(self.pid, self.start_time, self.boot)


def texts(fields: dict[str, object], key: str) -> list[str]:
    """A field that is a list of texts; empty when it isn't there."""
    value = fields.get(key, [])
    return [str(item) for item in value] if isinstance(value, list) else []


def _lines(path: str) -> list[dict[str, object]]:
    try:
        with open(path, errors="surrogateescape") as file:
            texts = file.read().split("\n")
    except FileNotFoundError:
        return []
    # What follows the last newline is a line that was being written when its writer was killed:
    # its step was never done.
    lines = []
    for number, text in enumerate(texts[:-1], 1):
        try:
            line = jsontext.loads(text)
        except ValueError as error:
            raise Failure(
                f"{path}, line {number} is damaged ({error}): nothing was undone; mend or remove that line"
            ) from None
        if isinstance(line, dict):
            lines.append(line)
    return lines
