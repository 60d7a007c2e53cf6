"""5.2  What runs is written down, has a name, and is listed by `ps`."""

from stages.kernel import records
from stages.kernel.places import Places, check_new_container
from stages.kernel.spec import Spec
from stages.options import nothing
from stages.stage import Stage as Before
from stages.stage import Steps

COLUMNS = ("ID", "NAME", "PID", "STATUS", "COMMAND", "CREATED")


def _name(spec: Spec, value: str) -> None:
    spec.name = check_new_container(value)


class Stage(Before):
    """A record for each container, in a directory that others can read."""

    options = {"name": _name}
    usage = "[--name NAME]"
    keeps_records = True

    def outside(self, spec: Spec) -> Steps:
        from stages.kernel import steps

        yield steps.RecordDirectory(spec.places.record(spec.name), spec.container_id)
        yield from super().outside(spec)

    def started(self, spec: Spec) -> Steps:
        from stages.kernel import steps

        yield from super().started(spec)
        yield steps.WriteRecord(f"{spec.places.record(spec.name)}/config.json", records.of(spec))


def ps(places: Places, words: list[str]) -> int:
    """List the containers.  Raises Failure."""
    nothing("ps", words)
    rows = [COLUMNS]
    for record in records.every(places):
        status = record.status()
        pid = str(record.pid) if status == records.RUNNING else ""
        command = " ".join(record.list("command"))
        if not command.isprintable():
            command = "".join(c if c.isprintable() else "?" for c in command)
        rows.append((record.text("id"), record.name, pid, status, command, record.text("create_time")))
    widths = [max(12, 3 + max(map(len, column))) for column in zip(*rows, strict=True)]
    for row in rows:
        print("".join(map(str.ljust, row, widths)).rstrip())
    return 0
