"""The report: one line a behaviour, grouped by chapter.

A pytest plug-in too (`-p harness.report`), in the place of pytest's own words (`-p no:terminal`).
"""

import os
import textwrap
from collections.abc import Generator

import pytest

from harness import chapters
from harness.failure import failure
from harness.lines import MARGIN, WIDTH, wrapped
from harness.plugin import CELLS, Cell
from harness.program import Program
from harness.workers import MEANWHILE
from stages.progress import Progress  # no part of the runtime

PASSED, FAILED, DIFFERS, NOT_CLAIMED, NOT_CHECKED = "✓", "✗", "≠", "–", "?"
LEGEND = {
    PASSED: "as documented",
    FAILED: "not as documented",
    DIFFERS: "otherwise on purpose",
    NOT_CLAIMED: "not claimed",
    NOT_CHECKED: "not checked",
}
NO_LONGER = "This is as documented now, so the difference has to go from the subject's file"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put a failure in a learner's words, for us and for JUnit."""
    report = yield
    cell = item.config.stash[CELLS].get(item.nodeid)
    if report.failed and cell:
        program = getattr(item, "funcargs", {}).get("program")
        used = program if isinstance(program, Program) else None
        if call.excinfo:
            report.longrepr = failure(used, call.excinfo.value, cell.key, cell.since)
        else:  # pytest's own words for a passed check that should not
            report.longrepr = str(report.longrepr).replace("[XPASS(strict)] differs", NO_LONGER)
        report.sections.clear()
    return report


class Table:
    """Prints each row as soon as all its cells are known."""

    def __init__(self, cells: dict[str, Cell], until_a_failure: bool) -> None:
        self.cells = cells
        self.until_a_failure, self.over = until_a_failure, False
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
        self.width = max(20, min(58, WIDTH - 9 - len(" ".join(self.heads))))  # of a title beside several columns
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
            if self.over:
                return
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
                # The failure is the last thing that one sees: it is what to work on.
                self.over = self.until_a_failure and any(self.marks.get(nodeid) == FAILED for nodeid in row)

    def _print_row(self, row: dict[str, Cell]) -> None:
        first = next(iter(row.values()))
        if first.since != self.chapter:
            print(f"\n{self._head(first.since)}")
            self.chapter = first.since
        by_subject = {cell.subject: nodeid for nodeid, cell in row.items()}
        marks = [self.marks.get(by_subject.get(name, ""), " ") for name, _ in self.subjects]
        if len(self.subjects) == 1:
            begin, why = f"  {marks[0]} {first.number:4} ", f"   ({first.state})" if first.state else ""
            if why:
                print(
                    begin + textwrap.shorten(first.title, WIDTH - len(begin + why), placeholder=" …") + why, flush=True
                )
            else:
                print(
                    textwrap.fill(first.title, WIDTH, initial_indent=begin, subsequent_indent=" " * MARGIN), flush=True
                )
        else:
            title = textwrap.shorten(first.title, self.width, placeholder=" …")
            columns = " ".join(f"{mark:{len(head)}}" for mark, head in zip(marks, self.heads, strict=True))
            print(f"  {first.number:4} {title:{self.width}}  {columns}".rstrip(), flush=True)
        for nodeid, cell in row.items():
            if note := self.notes.get(nodeid):
                text = note if len(self.subjects) == 1 else f"{cell.subject}: {note}"
                if "\n" in note:
                    print(textwrap.indent(text, " " * MARGIN), end="\n\n", flush=True)
                else:
                    print(textwrap.indent("\n".join(wrapped(text, WIDTH - MARGIN)), " " * MARGIN), flush=True)

    def _head(self, chapter: str) -> str:
        title = f"{chapter}  {dict(chapters.CHAPTERS)[chapter]}"
        return title if len(self.subjects) == 1 else f"{title:{self.width + 7}}  {' '.join(self.heads)}"

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
        self.table = Table(session.config.stash[CELLS], session.config.getoption("maxfail") == 1)
        self.progress = Progress(len(session.items), "checks")
        session.config.stash[MEANWHILE] = self.progress.show

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.table:
            self.table.put(report)

    def pytest_runtest_logfinish(self) -> None:
        if self.table:
            self.progress.hide()
            self.table.print()

    def pytest_sessionfinish(self) -> None:
        if self.table:
            self.progress.hide()
            self.table.print(everything=True)
            print(f"\n{self.table.summary()}")


def pytest_configure(config: pytest.Config) -> None:
    # For its own tracebacks, which nobody is shown, pytest would parse all sources once more.
    config.option.tbstyle = "native"
    config.pluginmanager.register(Reporter(), "harness-reporter")
