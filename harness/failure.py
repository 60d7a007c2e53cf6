"""The words of a failure: what was done, what was expected and found, what that probably means, and a first hint."""

import shlex
from collections.abc import Iterator

from harness import chapters, hints, meanings
from harness.errors import WorldError
from harness.expect import Mismatch
from harness.lines import MARGIN, ROOM, WIDTH, printable, table, wrapped
from harness.program import Program
from harness.running import Done, Running
from harness.subjects import CHECKOUT

CALLS = 8  # that are shown
LAST = 3  # calls in whose output errors are explained
LONG = 500  # letters of a command that are shown
FIRST, REST = 2, 4  # lines of an output that are shown, from its beginning and from its end
ENOUGH = 50  # lines of each in which errors are looked for


def failure(program: Program | None, error: BaseException, key: str, chapter: str) -> str:
    """All that a learner is told of a check that fails.  `key` and `chapter` are the check's."""
    history = program.history if program else []
    parts = []
    if history:
        earlier = [f"({len(history) - CALLS} calls before these)"] if len(history) > CALLS else []
        calls = [line for words, how in history[-CALLS:] for line in _call(words, how)]
        parts.append(_section("What was done:", [*earlier, *calls]))
    if isinstance(error, Mismatch):
        parts.append(_section(f"What was looked at: {error.where}", table(error.rows)))
    else:
        parts.append(_section("The check could not go on:", wrapped(_reason(error))))
    if means := dict.fromkeys(_meanings(history, error)):
        parts.append(_section("What that probably means:", [line for sentence in means for line in wrapped(sentence)]))
    if isinstance(error, Mismatch) and error.hints:
        key, chapter = error.hints, chapters.NUMBERS[0]
    parts.append(_section("A first hint:", list(_hint(key, chapter))))
    return "\n".join(parts)


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([*wrapped(title, WIDTH - MARGIN), *(f"    {line}".rstrip() for line in lines)])


def _call(words: list[str], how: Done | Running) -> Iterator[str]:
    """What was called, how it ended, and what it printed."""
    command = shlex.join(word if len(word) <= LONG else f"{word[:20]}… ({len(word)} letters)" for word in words)
    first, *rest = wrapped(f"$ {command[:LONG]}{' …' if len(command) > LONG else ''}", ROOM - 4)
    yield first
    yield from (f"    {line}" for line in rest)
    yield from _output("  standard input | ", how.stdin)
    out, err = _printed(how)
    if isinstance(how, Running):
        state = f"it was left running; later: {_end(how.wait())}" if how.ended() else "it was left running"
    else:
        state = _end(how)
    yield f"  {state}{'' if out or err else ', nothing printed'}"
    yield from _output("  | ", out)
    yield from _output("  standard error | ", err)


def _end(done: Done) -> str:
    how = f"ended by signal {-done.code}" if done.code < 0 else f"exit code {done.code}"
    if done.timed_out:
        how = f"it did not end, and the harness ended it after {done.seconds:.0f} s"
    return f"{how}; it printed {done.flooded} bytes more than were kept" if done.flooded else how


def _printed(how: Done | Running) -> tuple[str, str]:
    """What it has printed to its standard output and error."""
    return (how.out(), how.err()) if isinstance(how, Running) else (how.out, how.err)


def _output(name: str, text: str) -> Iterator[str]:
    for line in _excerpt(text, FIRST, REST):
        shown = f"{name}{printable(line[:ROOM])}"
        yield shown if len(shown) <= ROOM else f"{shown[: ROOM - 2]} …"


def _excerpt(text: str, first: int, last: int) -> list[str]:
    """So many lines from its beginning, where a list has its head, and from its end, where an error often is."""
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")] if text else []  # a terminal's have \r
    return lines if len(lines) <= first + last + 1 else [*lines[:first], "…", *lines[-last:]]


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a call of the kernel'}: {error.strerror}"
    # Not the learner's fault, so the exact words are for who maintains this.
    return str(error) if isinstance(error, WorldError) else f"the harness has a fault: {type(error).__name__}: {error}"


def _meanings(history: list[tuple[list[str], Done | Running]], error: BaseException) -> Iterator[str]:
    """What the program's last words mean, then the check's own words, then what the mounts in the table are."""
    for _, how in history[-LAST:]:
        for text in reversed(_printed(how)):
            yield from meanings.of_output(_excerpt(text, ENOUGH, ENOUGH))
    if isinstance(error, Mismatch):
        if error.means:
            yield error.means
        yield from meanings.of_rows(error.rows)


def _hint(key: str, chapter: str) -> Iterator[str]:
    try:
        first, *more = hints.of_check(key, chapter)
    except hints.HintError as error:
        yield from wrapped(str(error))
        return
    yield from wrapped(first)
    if more:
        yield f"({len(more)} more in {hints.file_of(chapter).relative_to(CHECKOUT)}, below [{hints.name_of(key)}])"
