"""The words of a failure: what differs is seen at once, however much there is of it, and nothing harms the terminal."""

import pytest

from harness.expect import BAD, GOOD, MISSING, Mismatch, Row, expect
from harness.failure import failure
from harness.lines import MARGIN, ROOM, ROWS, WIDTH, table
from harness.program import Program
from harness.running import Done
from harness.subjects import of_stage
from harness.world import World


@pytest.mark.parametrize(
    ("found", "expected", "rows"),
    [
        (2, 1, [(BAD, "1", "2")]),
        (True, False, [(BAD, "no", "yes")]),
        (None, "a", [(MISSING, "a", None)]),
        ("", "a", [(MISSING, "a", None)]),
        ("a", "a\n", [(BAD, "a\n", "a")]),  # without its new line
        ("a\na\n", "a\n", [(GOOD, "a", "a"), (BAD, None, "a")]),
        (None, b"a\n", [(MISSING, "a", None)]),
        (b"b\n", b"a\n", [(BAD, "a", "b")]),
        ({"a", "b"}, {"b", "c"}, [(BAD, None, "a"), (GOOD, "b", "b"), (MISSING, "c", None)]),
        (["x", None], ["x", "y"], [(GOOD, "x", "x"), (BAD, "y", "nothing")]),
        ({"PID": "7"}, {}, [(BAD, None, "PID 7")]),
        ({"ipc": 1}, {"ipc": 2, "net": 3}, [(BAD, "ipc 2", "ipc 1"), (MISSING, "net 3", None)]),
    ],
)  # fmt: skip
def test_what_differs_is_compared_piece_by_piece(
    found: object, expected: object, rows: list[tuple[str, str, str]]
) -> None:
    """In words, not in those of a programming language."""
    with pytest.raises(Mismatch) as seen:
        expect(found, expected, "here")
    assert [(row.mark, row.expected, row.found) for row in seen.value.rows] == rows


def test_a_table_is_as_narrow_as_a_terminal_and_shows_what_differs_first() -> None:
    rows = [Row(GOOD, f"line {n}", f"line {n}") for n in range(40)]
    rows[30:30] = [Row(BAD, "word " * 100, "x" * 5000), Row(MISSING, "two  blanks", None)]
    head, *lines = table(rows)
    assert head.split() == ["expected", "found"]
    assert max(map(len, [head, *lines])) <= ROOM
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [BAD, MISSING, GOOD]
    assert "two  blanks" in "\n".join(lines) and lines[-1].count("40 more") == 2
    assert len(lines) < 10


def test_not_all_of_a_thousand_differences_are_shown() -> None:
    lines = table([Row(BAD, None, f"line {n}") for n in range(1000)])
    assert len(lines) == 1 + ROWS + 1 and lines[-1].split() == ["(and", str(1000 - ROWS), "rows", "more)"]


def test_what_a_terminal_would_obey_is_written_as_an_escape() -> None:
    report = failure(None, Mismatch("at \x1b[2J", [Row(BAD, "\x07", "\udcff\u202e")]), "pid_1", "3.1")
    assert all(letter.isprintable() for letter in report.replace("\n", ""))
    assert r"\x1b[2J" in report and r"\xff\u202e" in report


def test_of_much_output_the_beginning_and_the_end_are_shown_and_errors_are_found_in_between() -> None:
    """In less than a page, whatever was called."""
    lines = [f"line {n}" for n in range(60)]
    lines[30] = "pivot_root: Invalid argument"
    done = Done([], 1, "a\nb\n", "", "\n".join(lines) + "\n", False, 0.1, 0, False)
    program = Program(of_stage("3.1"), World())
    program.history.append((["./mydocker", "run", "x" * 100_000, *(f"word{n}" for n in range(3000))], done))
    report = failure(program, Mismatch("here", [Row(BAD, "1", "2")]), "pid_1", "3.1")
    assert "standard input | b\n" in report and "exit code 1\n" in report
    assert "line 1\n" in report and "line 59\n" in report and "line 20\n" not in report
    assert "“pivot_root: Invalid argument” pivot_root(2) wants" in " ".join(report.split())
    assert max(map(len, report.splitlines())) <= WIDTH - MARGIN and len(report.splitlines()) < 40


def test_a_check_without_hints_says_so_and_is_reported_all_the_same() -> None:
    report = failure(None, Mismatch("here", [Row(BAD, "1", "2")]), "nosuch", "3.1")
    assert "BAD" in report and "hints.toml: there is no key nosuch" in " ".join(report.split())


def test_a_check_that_could_not_go_on_tells_why() -> None:
    report = failure(None, FileNotFoundError(2, "No such file or directory", "/proc/7/fd"), "pid_1", "3.1")
    assert "The check could not go on:\n    /proc/7/fd: No such file or directory\n" in report
