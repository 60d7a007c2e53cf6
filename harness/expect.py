"""What a check says: what was expected, what was found, where, and what a difference probably means."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from types import NoneType

from harness import patience
from harness.running import Done

GOOD, BAD, MISSING = "GOOD", "BAD", "MISSING"


@dataclass(frozen=True)
class Row:
    """A line of the comparison.  `None` is nothing: not expected, or not found."""

    mark: str
    expected: str | None
    found: str | None


class Mismatch(AssertionError):
    """Something is not as the text says.

    `where` names the place that was looked at, `rows` compare, `means` is a sentence on the probable reason, or empty.
    `strong` is False when the program only ended badly: that says nothing about what the check is there for.
    `hints` is the key of the hints that fit, where those of the check do not.
    """

    def __init__(self, where: str, rows: list[Row], means: str = "", strong: bool = True, hints: str = "") -> None:
        super().__init__(where)
        self.where, self.rows, self.means, self.strong, self.hints = where, rows, means, strong, hints

    def __str__(self) -> str:
        compared = "; ".join(f"{row.mark}: expected {row.expected}, found {row.found}" for row in self.rows)
        # pytest sends it on as UTF-8, and what a program prints may be something else.
        return f"{self.where}: {compared}".encode(errors="backslashreplace").decode()


def expect(found: object, expected: object, where: str, means: str = "") -> None:
    """`found` equals `expected`.  Sets are compared name by name, lists line by line.  Raises Mismatch."""
    if found != expected:
        raise Mismatch(where, _compared(found, expected), means)


def expect_all(found: Collection[object], wanted: Iterable[object], where: str, means: str = "") -> None:
    """Each of `wanted` is in `found`, which may hold more.  Raises Mismatch."""
    wanted = list(wanted)
    if any(one not in found for one in wanted):
        seen = ", ".join(sorted(str(one) for one in found)) or "nothing"
        marked = [
            Row(GOOD if one in found else MISSING, str(one), str(one) if one in found else None) for one in wanted
        ]
        raise Mismatch(where, [*marked, Row("", None, f"there: {seen}")], means)


def expect_none(found: Iterable[object], where: str, means: str = "") -> None:
    """There is nothing in `found`.  Raises Mismatch."""
    if rows := [Row(BAD, None, str(one)) for one in found]:
        raise Mismatch(where, rows, means)


def expect_soon(
    look: Callable[[], object], expected: object, where: str, means: str = "", seconds: float = 5, after: float = 0
) -> None:
    """`look()` equals `expected` before `seconds` are over.  Raises Mismatch, with what it was last.

    `after` are the seconds that it takes anyway, whatever the patience.
    """
    began = time.monotonic()
    deadline = patience.until(seconds) + after
    while (found := look()) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    expect(found, expected, f"{where} (looked at for {deadline - began:.2g} s)", means)


def expect_end(done: Done, code: int = 0, means: str = "") -> None:
    """A command has ended by itself with this exit code.  Raises Mismatch."""
    if done.timed_out:
        found = f"it did not end: the harness ended it after {done.seconds:.0f} s"
        means = (
            means
            or "It waits for what does not come: a process that does not end, or is frozen, or a pipe that is still open."
        )
        raise Mismatch("how it ended", [Row(BAD, f"exit code {code}", found)], means, strong=False)
    if done.code != code:
        how = f"exit code {done.code}" if done.code >= 0 else f"ended by signal {-done.code}"
        row = Row(BAD, f"exit code {code}", how)
        # Exit code 0 where another one is documented is a fault of its own.
        raise Mismatch("how it ended", [row], means or _usual(done.code, code), strong=done.code == 0)
    done.looked_at = True


def expect_refused(done: Done, means: str = "") -> None:
    """A command has ended by itself, and not with exit code 0.  Raises Mismatch."""
    if done.timed_out or done.code == 0:
        found = "it did not end" if done.timed_out else "exit code 0"
        raise Mismatch("how it ended", [Row(BAD, "an exit code other than 0", found)], means)
    done.looked_at = True


def expect_not_run(done: Done, token: str, means: str = "") -> None:
    """A request was refused, and its command, which would have printed `token`, was not executed.  Raises Mismatch."""
    expect(token in done.out, False, "was the command executed?", means)
    expect_refused(done, means)


def _usual(code: int, wanted: int) -> str:
    """What an exit code usually means."""
    return {
        125: "By convention 125 says that the runtime itself failed: its standard error should say why.",
        126: "By convention 126 says that the command was found, and can't be executed.",
        127: "By convention 127 says that there is no such command: is the program's name right, and the image's PATH?",
        -11: "Signal 11 is a segmentation fault: the program itself has crashed.",
        -9: "Somebody killed it: the kernel, for want of memory, or the program itself.",
    }.get(code, "" if wanted else "An exit code other than 0 says that something failed.")


def _compared(found: object, expected: object) -> list[Row]:
    if (lines := _lines(found)) is not None and (wanted := _lines(expected)) is not None:
        found, expected = lines, wanted
    if isinstance(found, dict) and isinstance(expected, dict):
        two = [{key: f"{key} {_text(value)}" for key, value in one.items()} for one in (expected, found)]
        return [_row(two[0].get(key), two[1].get(key)) for key in {**expected, **found}]
    if isinstance(found, (set, frozenset)) and isinstance(expected, (set, frozenset)):
        every = sorted(found | expected, key=str)
        return [_row(_text(one) if one in expected else None, _text(one) if one in found else None) for one in every]
    if isinstance(found, (list, tuple)) and isinstance(expected, (list, tuple)):
        return _aligned([_text(one) for one in found], [_text(one) for one in expected])
    return [_row(_text(expected), None if found in ("", None) else _text(found))]


def _lines(value: object) -> list[str] | None:
    """The lines of a text that is nothing but whole lines, or is empty, or isn't there; None for all else."""
    text = "" if value is None else _text(value)
    whole = isinstance(value, (str, bytes, NoneType)) and (not text or text.endswith("\n"))
    return text.split("\n")[:-1] if whole else None


def _text(value: object) -> str:
    """As a person writes it."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value is None else str(value)


def _aligned(found: list[str], expected: list[str]) -> list[Row]:
    rows = []
    for _, a, b, c, d in SequenceMatcher(None, expected, found, autojunk=False).get_opcodes():
        for n in range(max(b - a, d - c)):
            rows.append(_row(expected[a + n] if a + n < b else None, found[c + n] if c + n < d else None))
    return rows


def _row(expected: str | None, found: str | None) -> Row:
    return Row(GOOD if expected == found else MISSING if found is None else BAD, expected, found)
