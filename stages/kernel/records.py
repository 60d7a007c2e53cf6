"""Containers on disk: the record that the tutorial calls config.json, one directory a container."""

import os

from stages.kernel import files, jsontext, life, locks
from stages.kernel.errors import Failure, Interrupted
from stages.kernel.journal import texts
from stages.kernel.places import RESERVED_CONTAINERS, Places, check_name
from stages.kernel.spec import Spec

RUNNING, STOPPED, EXITED = "running", "stopped", "exited"


class Record:
    """One container as it was written down.  `fields` are the keys of config.json."""

    def __init__(self, path: str, fields: dict[str, object]) -> None:
        self.path, self.fields = path, fields

    @property
    def name(self) -> str:
        """The container's name."""
        return self.text("name")

    @property
    def pid(self) -> int:
        """Its PID 1 as the host counts it, 0 when the record says that there is none."""
        pid = self.text("pid")
        return int(pid) if pid.isdigit() else 0

    @property
    def groups(self) -> list[str]:
        """The directories of its control groups."""
        return self.list("groups")

    def text(self, key: str) -> str:
        """A field as text, empty when it isn't there."""
        return str(self.fields.get(key, ""))

    def list(self, key: str) -> "list[str]":
        """A field as a list of texts, empty when it isn't there."""
        return texts(self.fields, key)

    @property
    def since(self) -> int:
        """When its PID 1 started, in ticks since the boot."""
        started = self.fields.get("start_time", 0)
        return started if isinstance(started, int) else 0

    def _life(self) -> tuple[int, int, str]:
        return self.pid, self.since, self.text("boot_id")

    def is_alive(self) -> bool:
        """True while the container's own process runs."""
        return life.is_alive(*self._life())

    def hold(self) -> int | None:
        """A pidfd for its process, None when that has ended."""
        return life.hold(*self._life())

    def status(self) -> str:
        """What `ps` says: a record that says running is believed only if the process is there."""
        written = self.text("status")
        return EXITED if written == RUNNING and not self.is_alive() else written

    def mark_stopped(self, places: Places) -> None:
        """Write down that it was stopped; nothing is written when somebody has removed it meanwhile."""
        lock = locks.take_directory(places.home(self.name))
        if lock is None:
            return
        try:
            if os.path.exists(self.path):
                write(self.path, {**self.fields, "status": STOPPED, "pid": ""})
        finally:
            locks.release(lock)


def of(spec: Spec) -> dict[str, object]:
    """What is written down of a container; its process is added when it is there."""
    return {
        "pid": "",
        "id": spec.container_id,
        "name": spec.name,
        "command": spec.words,
        "create_time": spec.created,
        "status": RUNNING,
        "volume": [f"{source}:{target}" for source, target in spec.volumes],
        "image": spec.image,
        "mount_point": spec.mount_point,
        "environment": spec.environment,
        "groups": spec.groups,
    }


def write(path: str, fields: dict[str, object]) -> None:
    """Write a record so that readers see the old one or the new one, never half of it."""
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        text = (jsontext.dumps(fields) + "\n").encode("ascii")
        if os.write(fd, text) != len(text):
            raise OSError(28, os.strerror(28), path)
    finally:
        os.close(fd)
    os.rename(f"{path}.new", path)


def read(places: Places, name: str) -> Record | None:
    """The record of the container `name`, None when there is none.

    When only its journal is left (a reboot empties /var/run), what that says of it is returned, as an exited container.
    """
    path = f"{places.record(name)}/config.json"
    try:
        fields = jsontext.loads(files.read(path).decode(errors="surrogateescape"))
    except (FileNotFoundError, NotADirectoryError):
        return _from_journal(places, name)
    except ValueError as error:
        raise Failure(f"{path} is damaged ({error}): `rm -f {name}` removes the container with it") from None
    if not isinstance(fields, dict) or not {"id", "pid", "status"} <= fields.keys():
        raise Failure(f"{path} is damaged (no record of a container): `rm -f {name}` removes the container with it")
    return Record(path, {**fields, "name": name})


def _from_journal(places: Places, name: str) -> Record | None:
    from stages.kernel import journal

    done = journal.Done(places.home(name))
    if not done.container.get("created"):  # not even begun, or of a chapter that keeps no records
        return None
    if not done.pid and done.boot == life.boot_id():  # it is just being started
        return None
    life_then = {"pid": str(done.pid or ""), "start_time": done.start_time, "boot_id": done.boot}
    fields: dict[str, object] = {
        **done.container,
        **life_then,
        "create_time": done.container["created"],
        "status": RUNNING,
    }
    return Record(f"{places.record(name)}/config.json", fields)


def _read_or_damaged(places: Places, name: str) -> Record | None:
    try:
        return read(places, name)
    except Interrupted:
        raise
    except Failure:
        return Record(f"{places.record(name)}/config.json", {"name": name, "status": "damaged"})


def find(places: Places, name: str) -> Record:
    """The record of the container `name`.  Raises Failure when there is none."""
    check_name(name, "a container")
    record = read(places, name)
    if record is None:
        raise Failure(f"there is no container {name}: `ps` lists those that there are")
    return record


def every(places: Places) -> list[Record]:
    """All records, the oldest first."""
    names: set[str] = set()
    for directory in (places.state, places.containers):
        try:
            names.update(os.listdir(directory))
        except FileNotFoundError:
            continue
    found = [_read_or_damaged(places, name) for name in names if name not in RESERVED_CONTAINERS]
    return sorted((record for record in found if record), key=lambda record: (record.text("create_time"), record.name))
