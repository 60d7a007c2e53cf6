"""The pytest plug-in of the behaviours: which check is made of which subject, in a world of its own, with nothing left behind.

    pytest -p harness.plugin tests/behaviours [--subject NAME …] [--chapter X]

It gives the checks `subject`, `world` and `program`, and the marker `behaviour`.
"""

import json
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness import busybox, chapters, engines, patience
from harness.choice import chosen
from harness.expect import BAD, Mismatch, Row
from harness.look import Look, difference, look_at
from harness.program import Program
from harness.subjects import CHECKOUT, Subject, SubjectError
from harness.tables import machine_targets, visible
from harness.world import World

LIMIT = 20  # seconds for one call of the program; none needs one
HIDDEN = ("/root", "/var", "/run")  # in a world these are empty at first


@dataclass(frozen=True)
class Cell:
    """One check of one subject: a place in the report's table.

    `key` is the check's name without `test_`, the same for all subjects. `number` is the behaviour's (`D1`) or the defect's
    (`F1`), `since` and `until` the chapters in which it holds, `title` the sentence.
    `state` is empty when the check is to be made, else why it isn't.
    """

    check: str
    key: str
    number: str
    since: str
    until: str
    title: str
    subject: str
    chapter: str
    state: str


CELLS = pytest.StashKey[dict[str, Cell]]()
BEFORE = pytest.StashKey[Look]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("containers")
    group.addoption(
        "--subject", action="append", default=[], help="what to check: a program, a file, a chapter of ours"
    )
    group.addoption("--chapter", default="", help="up to which chapter of the tutorial")
    group.addoption("--since", default="", help="only what comes with this chapter or a later one")
    group.addoption(
        "--only-new",
        action="store_true",
        help="of all our chapters each only with what comes with it, and the last one with everything",
    )
    group.addoption("--defects", action="store_true", help="look also for the known defects of other implementations")
    group.addoption("--results", default="", help="a file that takes each check's result, as JSON")
    group.addoption(
        "--patience",
        type=float,
        default=patience.factor,
        help="how long to wait for what does not come: 0.5 is half as long",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "behaviour(number, since, until=''): documented behaviour D1 to D21 or known defect F1 to F23, and where it holds",
    )
    config.stash[CELLS] = {}
    patience.factor = config.getoption("--patience")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each check × each subject; those that don't apply are taken out later, and reported."""
    if "subject" not in metafunc.fixturenames:
        return
    try:
        every = chosen(metafunc.config.getoption("--subject"), metafunc.config.getoption("--chapter"))
    except SubjectError as error:
        raise pytest.UsageError(str(error)) from None
    metafunc.parametrize("subject", every, ids=[subject.name for subject in every], indirect=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Put the check into the report's table, and say when its turn is."""
    marker = item.get_closest_marker("behaviour")
    if not marker or not isinstance(item, pytest.Function):
        return
    if is_defect(marker.args[0]) and not item.config.getoption("--defects"):
        return
    subject = item.callspec.params["subject"]
    assert isinstance(subject, Subject)
    cell = _cell(item, subject, *marker.args, **marker.kwargs)
    item.config.stash[CELLS][item.nodeid] = cell
    item.add_marker(pytest.mark.order(chapters.NUMBERS.index(cell.since)))
    if sentence := subject.difference(cell.number, cell.key.partition("[")[0]):
        # It is made all the same: a difference that is none any more is to be noticed.
        item.add_marker(pytest.mark.xfail(raises=Mismatch, reason=f"differs: {sentence}", strict=True))


def _cell(item: pytest.Function, subject: Subject, number: str, since: str, until: str = "") -> Cell:
    title = (item.function.__doc__ or "").strip().partition("\n")[0].removeprefix(f"{number}: ").rstrip(".")
    state = ""
    key = item.function.__name__.removeprefix("test_")
    if not chapters.holds(subject.claims, since, until):
        state = f"holds until {until}" if subject.knows(since) else f"comes with {since}"
    elif not chapters.reaches(since, _first(item.config, subject)):
        state = f"came with {since} already"
    check = item.nodeid.partition("[")[0]
    if others := [str(value) for key, value in item.callspec.params.items() if key != "subject"]:
        chosen_ones = f"[{'-'.join(others)}]"
        title, check, key = f"{title}: {', '.join(others)}", check + chosen_ones, key + chosen_ones
    return Cell(check, key, number, since, until, title, subject.name, subject.claims, state)


def _first(config: pytest.Config, subject: Subject) -> str:
    """From which chapter on checks are wanted of this subject."""
    asked: str = config.getoption("--since") or chapters.NUMBERS[0]
    named = config.getoption("--subject") or config.getoption("--chapter")
    if config.getoption("--only-new") and not named and subject.claims != chapters.NUMBERS[-1]:
        return subject.claims
    return asked


def is_defect(number: str) -> bool:
    """Is it one of the known defects F1 to F23, not a documented behaviour?"""
    return number.startswith("F")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what the subject does not claim, what its chapter has outgrown, and defects that nobody asked for."""
    cells = config.stash[CELLS]
    out = [
        item
        for item in items
        if (item.nodeid in cells and cells[item.nodeid].state)
        or (item.nodeid not in cells and item.get_closest_marker("behaviour"))
    ]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how a check ended, for `--results`."""
    report = yield
    file, cell = item.config.getoption("--results"), item.config.stash[CELLS].get(item.nodeid)
    if file and cell and (report.when == "call" or report.outcome != "passed"):
        error = call.excinfo.value if call.excinfo else None
        program = getattr(item, "funcargs", {}).get("program")
        failed = isinstance(program, Program) and program.failed_last()
        seen = isinstance(error, Mismatch) and error.strong and not failed
        line = {
            "key": cell.key,
            "nodeid": item.nodeid,
            "number": cell.number,
            "subject": cell.subject,
            "outcome": report.outcome,
            "where": error.where if isinstance(error, Mismatch) else repr(error) if error else "",
            "weak": report.outcome == "failed" and not seen,
        }
        with open(file, "a") as results:
            results.write(json.dumps(line) + "\n")
    return report


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """The subject under test."""
    found: Subject = request.param
    return found


@pytest.fixture
def machine() -> set[str]:
    """Where the machine had mounts just before the world was made, and just after it."""
    return machine_targets()


@pytest.fixture
def world(subject: Subject, machine: set[str]) -> Iterator[World]:
    """A world of the check's own, in which the subject's program can be seen."""
    program = Path(subject.program[0])
    with World(limit=LIMIT, kept=() if _hidden(program) else [str(program.parent)]) as made:
        machine |= machine_targets()
        _bring(made, program)
        yield made


def _bring(world: World, program: Path) -> None:
    """Copy into the world what lies where it has directories of its own: our stages, which a script may call, and the program."""
    for part in (CHECKOUT / "bin", *sorted(CHECKOUT.glob("stage*")), program):
        if _hidden(part) and not world.path(str(part)).exists():
            world.copy_in(part, str(part))


def _hidden(path: Path) -> bool:
    """Is it where a world has directories of its own?"""
    return str(path).startswith(tuple(f"{place}/" for place in HIDDEN))


@pytest.fixture
def program(request: pytest.FixtureRequest, subject: Subject, machine: set[str], world: World) -> Program:
    """The subject at work, with the busybox image in its place.

    It is called once beforehand: what a program makes on its first run and keeps, an unpacked image, an empty directory for
    records, is there when the machine is looked at. Only that: a mount or a process must not stay even then.
    """
    made = Program(subject, world)
    made.there_first = frozenset(visible(world.path("/root")))
    made.tarball("busybox").parent.mkdir(parents=True, exist_ok=True)
    busybox.build(made.tarball("busybox"))
    engines.start(subject, world)
    made.machine_first, made.mounts_first, first = machine, world.mountinfo(), look_at(world)
    made.run("true", timeout=LIMIT / 2)
    made.history.clear()
    then = look_at(world)
    request.node.stash[BEFORE] = replace(first, files=then.files, cgroups=then.cgroups)
    return made


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Look at the machine after a check that has passed: what it left behind makes it fail."""
    result = yield
    program = pyfuncitem.funcargs.get("program")
    if isinstance(program, Program) and (before := pyfuncitem.stash.get(BEFORE, None)):
        nothing_left(program, before)
    return result


def nothing_left(program: Program, before: Look, seconds: float = 3) -> None:
    """After the program's own stop and rm all is as it was.  Raises Mismatch, with what is not, by name.

    Not asked of a program that the check has killed at work, nor of a program that has containers of `run -d` and no `rm` yet.
    """
    if program.crashed or not program.clean():
        return
    deadline = patience.until(seconds)
    while left := difference(*_both(program, before, look_at(program.world))):
        if time.monotonic() > deadline:
            rows = [Row(BAD, None, sentence) for sentence in left[:20]]
            if len(left) > len(rows):
                rows.append(Row(BAD, None, f"and {len(left) - len(rows)} more"))
            means = "What `run` does to the machine has to be undone when the container ends, or by its `rm`."
            raise Mismatch("the machine, before and after the check", rows, means, hints="nothing_left")
        time.sleep(0.02)


def _both(program: Program, before: Look, after: Look) -> tuple[Look, Look]:
    """The two looks without what is not the program's doing: files that are meant to stay, and mounts that the machine took away."""
    gone = program.machine_first - machine_targets()

    def own(look: Look) -> Look:
        return replace(
            _own(program, look), mounts=tuple(name for name in look.mounts if name.rpartition(" (")[0] not in gone)
        )

    return own(before), own(after)


def _own(program: Program, look: Look) -> Look:
    """The look without files that are meant to stay.

    They are volumes, images, before 4.2 what is written to busybox, and out of sight (below a directory whose name begins with
    a dot) what belongs to an image, such as its lock, and empty directories.
    """
    images = program.images - ({"busybox"} if program.knows("4.2") else set())
    keep = [
        *program.volumes,
        *(
            program.subject.place(place, image=image)
            for image in images
            for place in ("tarball", "image")
            if not program.subject.finder(place, image=image)  # then it is the engine's, and elsewhere
        ),
    ]
    filled = {file.rstrip("/").rpartition("/")[0] + "/" for file in look.files}

    def stays(file: str) -> bool:
        if "/." in file and (any(image in file for image in images) or (file.endswith("/") and file not in filled)):
            return True
        below = any(f"{file.rstrip('/')}/".startswith(f"{kept}/") for kept in keep)
        return below or (file.endswith("/") and any(kept.startswith(file) for kept in keep))

    return replace(look, files=tuple(file for file in look.files if not stays(file)))
