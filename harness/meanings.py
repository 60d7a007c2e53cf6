"""What an error of the kernel's, or a mount, probably means: looks it up in `meanings.toml`."""

import errno
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.expect import BAD, MISSING, Row

KNOWN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
CALLS = [(re.compile(call.pop("words"), re.IGNORECASE), call) for call in KNOWN["call"].values()]
# How each error is written: in the C library's words, or others.
ERRORS = {
    name: [os.strerror(getattr(errno, name)).lower(), *KNOWN["words"].get(name, [])]
    for name in sorted({name for _, errors in CALLS for name in errors})
}
MOST = 3  # errors or mounts that are explained
LONGEST = 1000  # letters of a line that are looked at
TRACEBACK = 2  # lines of it before the one with the error in which the call may be named
# A mount: a line of mountinfo, or as the harness names it, "/proc (proc)".
LINE = re.compile(r"^\d+ \d+ \d+:\d+ \S+ \S+ \S+(?P<optional>.*) - (?P<type>\S+) ")
MOUNT = re.compile(r"/\S* \((?P<type>[a-z0-9.]+)\)$")


def of_output(lines: list[str]) -> list[str]:
    """What errors in a program's output probably mean: each line that is understood, and a sentence on it."""
    found: dict[str, str] = {}
    for number, line in enumerate(line[:LONGEST] for line in lines):
        indented = [other for other in lines[max(0, number - TRACEBACK) : number] if other.startswith(" ")]
        for name in _errors(line):
            sentence = _fitting(name, [line, *reversed(indented)])
            if sentence and sentence not in found.values():
                found[line.strip()] = sentence
    return [f"“{line[:100]}{'…' * (len(line) > 100)}” {sentence}" for line, sentence in list(found.items())[:MOST]]


def _errors(line: str) -> Iterator[str]:
    """The names of the errors that a line tells of."""
    for name, words in ERRORS.items():
        if re.search(rf"\b{name}\b", line) or any(some in line.lower() for some in words):
            yield name


def _fitting(name: str, lines: list[str]) -> str:
    """What the error means in the first of these lines that tells what was being done; else nothing."""
    return next(
        (errors[name] for line in lines for words, errors in CALLS if name in errors and words.search(line)), ""
    )


def of_rows(rows: Iterable[Row]) -> list[str]:
    """What the mounts are that are missing or should not be there: a sentence for each type and each propagation.

    Of many only the first one: they have one cause.
    """
    texts = [row.found or row.expected or "" for row in rows if row.mark in (BAD, MISSING)]
    mounts = [mount for text in texts if (mount := LINE.match(text) or MOUNT.search(text))]
    found: dict[str, None] = {}  # a set that keeps the order
    for mount in mounts if len(mounts) <= MOST else mounts[:1]:
        if what := KNOWN["type"].get(mount["type"]):
            found[f"A mount of the type {mount['type']} {what}."] = None
        optional = mount.groupdict().get("optional") or ""
        found.update({sentence: None for name, sentence in KNOWN["propagation"].items() if f" {name}" in optional})
    return list(found)
