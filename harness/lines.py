"""Texts as lines of a terminal: nothing in them that it would obey, wrapped, and in two columns."""

import textwrap

from harness.expect import GOOD, Row

WIDTH = 110
MARGIN = 9  # before each line of a failure
ROOM = WIDTH - MARGIN - 4  # for a line of one of its sections
ROWS = 16  # of a table; where there are more, those that are as expected are counted only
HIGH = 4  # lines of a cell


def printable(text: str) -> str:
    """The text with what a terminal would take for a command, or can't show, written as an escape."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(letter: str) -> str:
    """A byte that is no UTF-8 comes as a surrogate, and is meant as that byte."""
    byte = ord(letter) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else letter.encode("unicode_escape").decode()


def wrapped(text: str, width: int = ROOM) -> list[str]:
    """The text in lines of no more than `width` letters."""
    return textwrap.wrap(printable(text), width, break_on_hyphens=False)


def table(rows: list[Row]) -> list[str]:
    """Expected and found side by side, marked, as wide as they need and have room."""
    cells = [(row.mark, _shown(row.expected), _shown(row.found)) for row in _folded(rows)]
    expected = max([len("expected"), *(len(text) for _, text, _ in cells)])
    found = max([len("found"), *(len(text) for _, _, text in cells)])
    room = ROOM - 11  # less the mark and the gap
    if expected + found > room:
        expected = min(expected, max(room // 2, room - found))
        found = room - expected
    lines = [f"{'':8} {'expected':{expected}}  found"]
    for mark, left, right in cells:
        columns = _cell(left, expected), _cell(right, found)
        for n in range(max(1, *map(len, columns))):
            one, other = (column[n] if n < len(column) else "" for column in columns)
            lines.append(f"{'' if n else mark:8} {one:{expected}}  {other}".rstrip())
    return lines


def _folded(rows: list[Row]) -> list[Row]:
    """Not too many rows: those that are not as expected first, and the others counted."""
    if len(rows) <= ROWS:
        return rows
    good, others = [[row for row in rows if (row.mark == GOOD) is wanted] for wanted in (True, False)]
    counted = []
    if len(others) > ROWS:
        counted.append(Row("", None, f"(and {len(others) - ROWS} rows more)"))
    if good:
        counted.append(Row(GOOD, f"({len(good)} more)", f"({len(good)} more, the same)"))
    return [*others[:ROWS], *counted]


def _shown(value: str | None) -> str:
    return "" if value is None else printable(value) or "(empty)"


def _cell(text: str, width: int) -> list[str]:
    """The lines of a cell; its blanks are kept."""
    enough = text[: width * (HIGH + 1)]
    lines = textwrap.wrap(enough, width, drop_whitespace=False, replace_whitespace=False, break_on_hyphens=False)
    return lines if len(lines) <= HIGH else [*lines[: HIGH - 1], f"{lines[HIGH - 1][: width - 2]} …"]
