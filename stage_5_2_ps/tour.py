"""Chapter 5.2: each container has a number, a name and a record, and `ps` says what of it is still true."""

import json
import os
import re

from stages.tour import Guide, eventually, numbers

KEYS = {"pid", "id", "name", "command", "create_time", "status", "volume"}


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    guide.step(1, "Two containers, one of them with a name")
    unnamed = guide.do("run", "-d", "top").stdout.strip()
    named = guide.do("run", "-d", "--name", "bird", "top").stdout.strip()
    rows = _rows(guide)
    row, bird = rows.get(unnamed, []), rows.get("bird", [])
    guide.need("`ps` lists both as running", row[3:4] == bird[3:4] == ["running"])
    guide.check(
        "without a name NAME equals ID, which has ten digits",
        row[:2] == [unnamed] * 2 and re.fullmatch(r"\d{10}", row[0]),
    )
    guide.check("`run -d` prints the name", named == "bird")
    guide.look(f"grep NSpid /proc/{bird[2]}/status", " ".join(numbers(int(bird[2]))))
    guide.check("the PID is what the host calls the container's PID 1", numbers(int(bird[2])) == [bird[2], "1"])
    _record(guide, bird)
    _in_the_foreground(guide)
    guide.step(4, "One name, one container")
    done = guide.do("run", "-d", "--name", "bird", "top")
    guide.check(
        "a name in use is refused, and `bird` is as it was", done.returncode == 125 and _rows(guide).get("bird") == bird
    )
    done = guide.do("run", "-d", "--name", "../bird", "top")
    outside = os.path.exists(f"{guide.state}/../bird")
    guide.check("a name that is a path is refused, and nothing was made", done.returncode == 125 and not outside)
    guide.step(5, "A container ends, and nobody has seen it")
    guide.show(f"kill {bird[2]}")
    eventually(lambda: not os.path.exists(f"/proc/{bird[2]}/exe"))
    guide.check("its record still says running", _written(guide, "bird").get("status") == "running")
    guide.check("`ps` says exited, with no PID", _rows(guide).get("bird", [])[:4] == [*bird[:2], "exited", "top"])


def _record(guide: Guide, bird: list[str]) -> None:
    guide.step(2, "What is written down")
    guide.show(f"tr , '\\n' <{guide.state}/bird/config.json")
    record = _written(guide, "bird")
    guide.check("the record has the documented keys", record.keys() >= KEYS)
    guide.check("it says what `ps` says", [record.get(key) for key in ("id", "name", "pid", "status")] == bird[:4])


def _in_the_foreground(guide: Guide) -> None:
    guide.step(3, "A container with a terminal is listed too, as long as somebody is in it")
    shell = guide.begin("run", "-ti", "--name", "cat", "sh")
    guide.need("the container is there, and answers to its name", guide.type(shell, "hostname") == "cat\n")
    guide.check("`ps` in a second terminal lists it", _rows(guide).get("cat", [])[3:5] == ["running", "sh"])
    guide.leave_shell(shell)
    guide.check("when it has ended, `ps` does not", "cat" not in _rows(guide))
    guide.check("its record is gone", not os.path.lexists(f"{guide.state}/cat"))


def _rows(guide: Guide) -> dict[str, list[str]]:
    """The rows of `ps`, each as its words, by the containers' names."""
    rows = [line.split() for line in guide.do("ps").stdout.splitlines()[1:]]
    return {row[1]: row for row in rows}


def _written(guide: Guide, name: str) -> dict[str, object]:
    with open(f"{guide.state}/{name}/config.json") as file:
        found: dict[str, object] = json.load(file)
    return found
