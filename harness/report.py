"""The report: one line a behaviour, grouped by chapter; and what a learner needs when a check fails.

A pytest plug-in too (`-p harness.report`), in the place of pytest's own words (`-p no:terminal`).
"""

import os
import shlex
import textwrap
from collections.abc import Generator

import pytest

from harness import chapters
from harness.errors import WorldError
from harness.expect import Mismatch, Row
from harness.plugin import CELLS, Cell
from harness.program import Program
from harness.running import Done, Running

PASSED, FAILED, DIFFERS, NOT_CLAIMED, NOT_CHECKED = "✓", "✗", "≠", "–", "?"
LEGEND = {
    PASSED: "as documented",
    FAILED: "not as documented",
    DIFFERS: "otherwise on purpose",
    NOT_CLAIMED: "not claimed",
    NOT_CHECKED: "not checked",
}
NO_LONGER = "This is as documented now, so the difference has to go from the subject's file"
WIDTH = 110
LINES = 6  # of an output that are shown


# --- the words of a failure ---


def failure(program: Program | None, error: BaseException) -> str:
    """What was done, what was expected and found, and what that probably means."""
    parts = []
    if program and program.history:
        done = [line for words, how in program.history[-8:] for line in _called(words, how)]
        if len(program.history) > 8:
            done.insert(0, f"({len(program.history) - 8} calls before these)")
        parts.append(_section("What was done:", done))
    if isinstance(error, Mismatch):
        parts.append(_section(f"What was looked at: {error.where}", _table(error.rows)))
        if error.means:
            parts.append(_section("What that probably means:", textwrap.wrap(error.means, WIDTH - 12)))
    else:
        kind = "" if isinstance(error, WorldError) else f"{type(error).__name__}: "
        parts.append(_section("The check could not go on:", textwrap.wrap(printable(f"{kind}{error}"), WIDTH - 12)))
    return "\n".join(parts)


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([title, *(f"    {line}".rstrip() for line in lines)])


def _called(words: list[str], how: Done | Running) -> list[str]:
    command = printable(shlex.join(words))
    lines = [f"$ {command if len(command) < 400 else command[:400] + ' …'}"]
    if isinstance(how, Running):
        ended = how.ended()
        out, err = how.out(), how.err()
        lines.append("it was left running" if not ended else "it was left running, and has ended")
    else:
        out, err = how.out, how.err
        signal = f"ended by signal {-how.code}" if how.code < 0 else f"exit code {how.code}"
        lines.append(f"did not end; the harness ended it after {how.seconds:.0f} s" if how.timed_out else signal)
        if how.flooded:
            lines[-1] += f"; it printed {how.flooded} bytes more than were kept"
    lines[-1] = f"  {lines[-1]}{'' if out or err else ', nothing printed'}"
    for name, text in (("  | ", out), ("  standard error | ", err)):
        shown = text[: 200 * LINES].split("\n")
        if shown and not shown[-1]:
            shown.pop()
        lines += [name + printable(line)[:WIDTH] for line in shown[:LINES]]
        if len(shown) > LINES or len(text) > 200 * LINES:
            lines.append(f"{name}…")
    return lines


def _table(rows: list[Row]) -> list[str]:
    """Expected and found side by side, marked."""
    cells = [(row.mark, _cut(row.expected), _cut(row.found)) for row in rows]
    width = max([8, *(len(expected) for _, expected, _ in cells)])
    head = f"{'':8} {'expected':{width}}  found"
    return [head, *(f"{mark:8} {expected:{width}}  {found}" for mark, expected, found in cells)]


def _cut(text: str | None) -> str:
    words = "" if text is None else printable(text) or "(empty)"
    return words if len(words) <= 60 or text is None else words[:60] + " …"


def printable(text: str) -> str:
    """The text with what a terminal would take for a command, or can't show, written as an escape."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(letter: str) -> str:
    """A byte that is no UTF-8 comes as a surrogate, and is meant as that byte."""
    byte = ord(letter) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else letter.encode("unicode_escape").decode()


# --- the plug-in ---


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put a failure in a learner's words, for us and for JUnit."""
    report = yield
    if report.failed and item.nodeid in item.config.stash[CELLS]:
        program = getattr(item, "funcargs", {}).get("program")
        if call.excinfo:
            report.longrepr = failure(program if isinstance(program, Program) else None, call.excinfo.value)
        else:  # pytest's own words for a passed check that should not
            report.longrepr = str(report.longrepr).replace("[XPASS(strict)] differs", NO_LONGER)
        report.sections.clear()
    return report


class Table:
    """Prints each row as soon as all its cells are known."""

    def __init__(self, cells: dict[str, Cell]) -> None:
        self.cells = cells
        self.checks: dict[str, dict[str, Cell]] = {}  # in order
        for nodeid, cell in sorted(cells.items(), key=lambda pair: chapters.NUMBERS.index(pair[1].since)):
            self.checks.setdefault(cell.check, {})[nodeid] = cell
        self.subjects = list({cell.subject: cell.chapter for cell in cells.values()}.items())
        ladder = tuple(chapter for _, chapter in self.subjects) == chapters.NUMBERS
        self.heads = [chapter if ladder else name for name, chapter in self.subjects]
        self.marks: dict[str, str] = {}
        self.notes: dict[str, str] = {}  # why something differs or wasn't checked, and failures
        self.printed: set[str] = set()
        self.chapter = ""
        for nodeid, cell in cells.items():
            if cell.state:
                self.marks[nodeid] = NOT_CLAIMED

    @property
    def stopped(self) -> bool:
        """Are there checks that have no result?"""
        return len(self.marks) < len(self.cells)

    def put(self, report: pytest.TestReport) -> None:
        """Note how a phase of a check ended."""
        nodeid = report.nodeid
        if report.skipped:
            differs = getattr(report, "wasxfail", "")
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.marks[nodeid] = DIFFERS if differs else NOT_CHECKED
            self.notes[nodeid] = differs or reason.removeprefix("Skipped: ")
        elif report.failed:
            self.marks[nodeid] = FAILED
            self.notes.setdefault(nodeid, str(report.longrepr))
        elif report.when == "call":
            self.marks.setdefault(nodeid, PASSED)

    def print(self, everything: bool = False) -> None:
        """Print the rows that are complete and come next; with `everything` also those that will never be complete."""
        for check, row in self.checks.items():
            if check in self.printed:
                continue
            if not everything and any(nodeid not in self.marks for nodeid in row):
                return
            self.printed.add(check)
            # After a stop the rest is of no interest, also what would not have been looked at anyway.
            if not (everything and self.stopped) or any(
                self.marks.get(nodeid, NOT_CLAIMED) != NOT_CLAIMED for nodeid in row
            ):
                self._print_row(row)

    def _print_row(self, row: dict[str, Cell]) -> None:
        first = next(iter(row.values()))
        if first.since != self.chapter:
            print(f"\n{self._head(first.since)}")
            self.chapter = first.since
        by_subject = {cell.subject: nodeid for nodeid, cell in row.items()}
        marks = [self.marks.get(by_subject.get(name, ""), " ") for name, _ in self.subjects]
        if len(self.subjects) == 1:
            why = f"   ({first.state})" if first.state else ""
            print(f"  {marks[0]} {first.number:4} {first.title}{why}", flush=True)
        else:
            title = textwrap.shorten(first.title, 58, placeholder=" …")
            columns = " ".join(f"{mark:{len(head)}}" for mark, head in zip(marks, self.heads, strict=True))
            print(f"  {first.number:4} {title:58}  {columns}".rstrip(), flush=True)
        for nodeid, cell in row.items():
            if note := self.notes.get(nodeid):
                at = "" if len(self.subjects) == 1 else f"{cell.subject}: "
                print(textwrap.indent(f"{at}{note}", " " * 9), end="\n\n" if "\n" in note else "\n", flush=True)

    def _head(self, chapter: str) -> str:
        title = f"{chapter}  {dict(chapters.CHAPTERS)[chapter]}"
        return title if len(self.subjects) == 1 else f"{title:65}  {' '.join(self.heads)}"

    def summary(self) -> str:
        """How many there were of each."""
        marks = list(self.marks.values())
        counts = [f"{marks.count(mark)} {words} {mark}" for mark, words in LEGEND.items() if marks.count(mark)]
        left = len(self.cells) - len(marks)
        words = ", ".join(counts) + (f"; stopped there, {left} not looked at: --all goes on" if left else "")
        passed, failed, others = (
            marks.count(PASSED),
            marks.count(FAILED),
            marks.count(DIFFERS) + marks.count(NOT_CHECKED),
        )
        # A machine that runs the checks counts by pytest's words.
        return words + (f"\n{passed} passed, {failed} failed, {others} skipped" if os.environ.get("CI") else "")


class Reporter:
    """The hooks that feed the table."""

    def __init__(self) -> None:
        self.table: Table | None = None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            print(f"{report.nodeid}: {report.longrepr}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.table = Table(session.config.stash[CELLS])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.table:
            self.table.put(report)

    def pytest_runtest_logfinish(self) -> None:
        if self.table:
            self.table.print()

    def pytest_sessionfinish(self) -> None:
        if self.table:
            self.table.print(everything=True)
            print(f"\n{self.table.summary()}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Reporter(), "harness-reporter")
