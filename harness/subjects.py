"""Subjects: programs under test, each described in a TOML file.

A subject is a command line that has the tutorial's verbs, in whatever spelling. The file says how each verb is spelled, where
write layers, images and records are, up to which chapter the program goes, and where it differs from the tutorial on purpose.
A program that speaks the tutorial's own command line needs no file.
"""

import shlex
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from harness import behaviours, chapters
from harness.templates import (
    ALLOWED,
    NEEDED,
    OPTIONS,
    OWN,
    PLACES,
    PLACES_WITH_IMAGES,
    VERBS,
    VERBS_WITH_IMAGES,
    fault,
    filled,
)

CHECKOUT = Path(__file__).resolve().parent.parent
EXPLAINED = "explained"
SHIPPED = Path(__file__).resolve().parent / "subjects"
OWN_DIRECTORIES = ("/etc/", "/run/", "/root/", "/var/")  # where a world with an engine differs from the machine


class SubjectError(Exception):
    """A subject's file or program is not as it has to be.  One sentence that names the file, the key and what is allowed."""


@dataclass(frozen=True)
class Engine:
    """What has to be at work before a program can be called, and the image in its own store; see `engines`.

    `needs` are the programs that must be installed, and `install` says how.  The others are command lines: `start` is run as
    long as the world is there, `ready` ends with 0 when that one answers, `load` takes the image from its tar.
    `files` are written beforehand: what they hold, by path.  `keeps` are the directories in which it keeps what is its own.
    """

    needs: str = ""
    install: str = ""
    start: str = ""
    ready: str = ""
    load: str = ""
    keeps: str = ""
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """A program under test.

    `program` is how it is called; `claims` the last chapter that it claims to have.  `verbs`, `options` and `places` are
    templates.  `pid` is a command that prints a container's first process, empty when config.json tells it.
    `differences` are sentences, by behaviour (`D8`) or by one check of it (`D20 rm_of_one`): what it does otherwise on
    purpose.  `environment` is given to the program.
    """

    name: str
    program: tuple[str, ...]
    claims: str
    verbs: dict[str, str]
    options: dict[str, str]
    places: dict[str, str]
    pid: str = ""
    engine: Engine | None = None
    differences: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def words(self, verb: str, options: "list[tuple[str, dict[str, str]]]", **values: "str | list[str]") -> list[str]:
        """The command line of a verb: `options` are names of options with their values, in order."""
        chosen = [word for name, given in options for word in filled(self.options[name], given)]
        template = self.verbs[verb]
        if not template.startswith(OWN):
            template = "{program} " + template
        return self.command(template, **values, options=chosen)

    def command(self, template: str, **values: "str | list[str]") -> list[str]:
        """The words of a command line of its own."""
        return filled(template.removeprefix(OWN), {**values, "program": list(self.program)})

    def finder(self, place: str, /, **values: str) -> list[str]:
        """The command that prints where the place is; none when its path is known beforehand: see `place`."""
        template = self.places[place]
        return self.command(template, **values) if template.startswith(OWN) else []

    def place(self, place: str, /, **values: str) -> str:
        """A path of the subject's that is known beforehand, as the world names it."""
        assert not self.finder(place, **values), f"{self.name} has to be asked for the path: Program.place does that"
        return self.places[place].format(**values)

    def difference(self, number: str, check: str) -> str:
        """What it does otherwise in this check of the behaviour; empty when it does as documented."""
        return self.differences.get(f"{number} {check}") or self.differences.get(number, "")

    def knows(self, chapter: str) -> bool:
        """Does it claim to have this chapter?"""
        return chapters.reaches(self.claims, chapter)


def of_program(program: str, claims: str) -> Subject:
    """A program that speaks the tutorial's command line as of the chapter `claims`.  Raises SubjectError."""
    path = Path(program)
    if not path.is_file():
        raise SubjectError(f"{program}: there is no such program")
    if not path.stat().st_mode & 0o111:
        raise SubjectError(f"{program} is not executable: try `chmod +x {program}`")
    return _tutorials_own(path.name, (str(path.resolve()),), claims)


def of_stage(chapter: str) -> Subject:
    """Our own chapter, called as a program.  Raises SubjectError."""
    number = _chapter("this", "chapter", chapter)
    return _tutorials_own(chapters.directory(number), (str(CHECKOUT / "bin" / "stages"), "run", number, "--"), number)


def explained(chapter: str) -> Subject:
    """Our own chapter done by the scripts that its `--explain` prints.  Raises SubjectError."""
    number = _chapter("this", "chapter", chapter or chapters.NUMBERS[-1])
    return _tutorials_own(EXPLAINED, (str(CHECKOUT / "bin" / "explained"), number), number)


def ladder() -> list[Subject]:
    """All our chapters."""
    return [of_stage(number) for number in chapters.NUMBERS]


def _tutorials_own(name: str, program: tuple[str, ...], claims: str) -> Subject:
    if chapters.reaches(claims, "5.7"):
        return Subject(name, program, claims, VERBS_WITH_IMAGES, OPTIONS, PLACES_WITH_IMAGES)
    return Subject(name, program, claims, VERBS, OPTIONS, PLACES)


def find(name: str, chapter: str = "") -> Subject:
    """The subject that a person means: a TOML file, a shipped one (`docker`), a chapter of ours, or a program.

    `chapter` is up to where it is to be checked; a subject's own claim is not exceeded.  Raises SubjectError.
    """
    if name.endswith(".toml"):
        return limited(load(Path(name)), chapter)
    if (SHIPPED / f"{name}.toml").is_file():
        return limited(load(SHIPPED / f"{name}.toml"), chapter)
    if name == EXPLAINED:
        return explained(chapter)
    if "/" not in name:
        try:
            return of_stage(chapters.number_of(name))
        except KeyError:
            shipped = "".join(f"{file.stem}, " for file in sorted(SHIPPED.glob("*.toml")))
            raise SubjectError(
                f"there is no subject {name!r}: there are {shipped}our chapters (5.7, stage_commit), "
                f"{EXPLAINED} (our chapters by the scripts of --explain), a file of your own (mine.toml), and a program (./mydocker)"
            ) from None
    return of_program(name, _chapter("this", "chapter", chapter or chapters.NUMBERS[-1]))


def limited(subject: Subject, chapter: str) -> Subject:
    """The subject as far as `chapter`; empty: as far as it claims to go."""
    if not chapter or not chapters.reaches(subject.claims, chapter):
        return subject
    return replace(subject, claims=chapter)


KEYS = {
    "name": str,
    "program": str,
    "claims": str,
    "pid": str,
    "engine": dict,
    "verbs": dict,
    "options": dict,
    "places": dict,
    "differences": dict,
    "environment": dict,
}


def load(file: Path) -> Subject:
    """Read a subject's file.  Raises SubjectError, which names the file, the key, and what is allowed."""
    try:
        described = tomllib.loads(file.read_text())
    except FileNotFoundError:
        raise SubjectError(f"{file}: there is no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SubjectError(f"{file} can't be read: {error}") from None
    for key, value in described.items():
        if key not in KEYS:
            raise SubjectError(f"{file}: there is no key {key!r}: there are {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]):
            raise SubjectError(f"{file}: {key} must be {'a table' if KEYS[key] is dict else 'text in quotes'}")
    for key in ("program", "claims"):
        if key not in described:
            raise SubjectError(
                f"{file}: the key {key} is missing: {'how is it called' if key == 'program' else 'up to which chapter'}?"
            )
    claims = _chapter(str(file), "claims", described["claims"])
    usual = _tutorials_own("", (), claims)
    own = {
        key: _templates(file, key, described.get(key, {}), getattr(usual, key))
        for key in ("verbs", "options", "places")
    }
    if "pid" in described:
        _check_template(file, "pid", described["pid"], NEEDED["pid"], {"name", "program"})
    return Subject(
        name=described.get("name", file.stem),
        program=_program(file, described["program"]),
        claims=claims,
        pid=described.get("pid", ""),
        engine=_engine(file, described["engine"]) if "engine" in described else None,
        differences=_differences(file, described.get("differences", {})),
        environment=_texts(file, "environment", described.get("environment", {})),
        **own,
    )


def _program(file: Path, words: str) -> tuple[str, ...]:
    """The program's words; a path in them is meant as seen from the file."""
    try:
        first, *rest = shlex.split(words)
    except ValueError as error:
        raise SubjectError(f"{file}: program: {error}") from None
    if "/" in first:
        path = (file.parent / first).resolve()
        if not path.is_file() or not path.stat().st_mode & 0o111:
            raise SubjectError(f"{file}: program: {path} is {'not executable' if path.is_file() else 'not there'}")
        first = str(path)
    return (first, *rest)


def _templates(file: Path, table: str, given: dict[str, object], usual: dict[str, str]) -> dict[str, str]:
    for key, value in _texts(file, table, given).items():
        if key not in usual:
            raise SubjectError(f"{file}: there is no {table}.{key}: there are {', '.join(usual)}")
        needed = NEEDED.get(key, set())
        _check_template(file, f"{table}.{key}", value, needed, needed | ALLOWED)
    return {**usual, **_texts(file, table, given)}


def _engine(file: Path, given: dict[str, object]) -> Engine:
    there = [each.name for each in fields(Engine)]
    if odd := [key for key in given if key not in there]:
        raise SubjectError(f"{file}: there is no engine.{odd[0]}: there are {', '.join(there)}")
    given = dict(given)
    files = given.pop("files", {})
    if not isinstance(files, dict):
        raise SubjectError(f"{file}: engine.files must be a table")
    files = _texts(file, "engine.files", files)
    if odd := [path for path in files if not path.startswith(OWN_DIRECTORIES) or ".." in path]:
        places = ", ".join(OWN_DIRECTORIES)
        raise SubjectError(f"{file}: engine.files: {odd[0]} would be the machine's own: a file can be below {places}")
    words = _texts(file, "engine", given)
    if "start" in words and "ready" not in words:
        raise SubjectError(
            f"{file}: the key engine.ready is missing: which command ends with 0 when the engine answers?"
        )
    for key in ("start", "ready", "load"):
        needed = NEEDED.get(key, set())
        _check_template(file, f"engine.{key}", words.get(key, ""), needed, needed | {"program"})
    return Engine(**words, files=files)


def _differences(file: Path, given: dict[str, object]) -> dict[str, str]:
    differences = _texts(file, "differences", given)
    there = behaviours.checks() if differences else {}
    for key in differences:
        number, _, check = key.partition(" ")
        if number not in there:
            raise SubjectError(
                f"{file}: differences.{key}: there is no behaviour {number!r}: there are {', '.join(there)}"
            )
        if check and check not in there[number]:
            ours = ", ".join(f'"{number} {name}"' for name in there[number])
            raise SubjectError(f"{file}: differences.{key}: {number} has no check {check!r}: there are {ours}")
    return differences


def _texts(file: Path, table: str, given: dict[str, object]) -> dict[str, str]:
    for key, value in given.items():
        if not isinstance(value, str):
            raise SubjectError(f"{file}: {table}.{key} must be text in quotes")
    return {key: str(value) for key, value in given.items()}


def _check_template(file: Path, key: str, template: str, needed: set[str], allowed: set[str]) -> None:
    if wrong := fault(template, needed, allowed):
        raise SubjectError(f"{file}: {key} = {template!r}: {wrong}")


def _chapter(file: str, key: str, chapter: str) -> str:
    try:
        return chapters.number_of(chapter)
    except KeyError:
        raise SubjectError(
            f"{file}: {key}: there is no chapter {chapter!r}: there are {', '.join(chapters.NUMBERS)}"
        ) from None
