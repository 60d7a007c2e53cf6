"""Subjects: programs under test, each described in a TOML file.

A subject is a command line that has the tutorial's verbs, in whatever spelling. The file says how each verb is spelled, where
write layers, images and records are, up to which chapter the program goes, and where it differs from the tutorial on purpose.
A program that speaks the tutorial's own command line needs no file.
"""

import shlex
import string
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import chapters

CHECKOUT = Path(__file__).resolve().parent.parent
SHIPPED = Path(__file__).resolve().parent / "subjects"

# The tutorial's own command line.  A verb's words may hold placeholders; {options} and {command} stand for several words.
VERBS = {
    "run": "run {options} {command}",
    "commit": "commit {image}",
    "ps": "ps",
    "logs": "logs {name}",
    "follow": "logs {name} -f",
    "exec": "exec {name} {command}",
    "stop": "stop {name}",
    "rm": "rm {name}",
}
VERBS_WITH_IMAGES = {**VERBS, "run": "run {options} {image} {command}", "commit": "commit {name} {image}"}
OPTIONS = {
    "terminal": "-ti",
    "detach": "-d",
    "name": "--name {name}",
    "memory": "-m {memory}",
    "shares": "-cpushare {shares}",
    "cpuset": "-cpuset {cpuset}",
    "volume": "-v {host}:{inside}",
    "variable": "-e {variable}",
}
PLACES = {
    "tarball": "/root/{image}.tar",
    "image": "/root/{image}",
    "layer": "/root/writeLayer",
    "view": "/root/mnt",
    "record": "/var/run/zocker/{name}",
}
PLACES_WITH_IMAGES = {**PLACES, "layer": "/root/writeLayer/{name}", "view": "/root/mnt/{name}"}
# What a template has to hold, or the words would be lost.
NEEDED = {
    "run": {"options", "command"},
    "commit": {"image"},
    "exec": {"name", "command"},
    "logs": {"name"},
    "follow": {"name"},
    "stop": {"name"},
    "rm": {"name"},
    "name": {"name"},
    "memory": {"memory"},
    "shares": {"shares"},
    "cpuset": {"cpuset"},
    "volume": {"host", "inside"},
    "variable": {"variable"},
    "tarball": {"image"},
    "pid": {"name"},
}
ALLOWED = {"options", "command", "image", "name", "program"}


class SubjectError(Exception):
    """A subject's file or program is not as it has to be.  One sentence that names the file, the key and what is allowed."""


@dataclass(frozen=True)
class Subject:
    """A program under test.

    `program` is how it is called; `claims` the last chapter that it claims to have.  `verbs`, `options` and `places` are
    templates.  `pid` is a command that prints a container's first process, empty when config.json tells it.  `differences`
    are sentences by behaviour (`D8`): what it does otherwise on purpose.  `engine` is what the harness has to start first.
    `environment` is given to the program.
    """

    name: str
    program: tuple[str, ...]
    claims: str
    verbs: dict[str, str]
    options: dict[str, str]
    places: dict[str, str]
    pid: str = ""
    engine: str = ""
    differences: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def words(self, verb: str, options: "list[tuple[str, dict[str, str]]]", **values: "str | list[str]") -> list[str]:
        """The command line of a verb: `options` are names of options with their values, in order."""
        chosen = [word for name, given in options for word in _filled(self.options[name], given)]
        return [*self.program, *_filled(self.verbs[verb], {**values, "options": chosen})]

    def place(self, place: str, /, **values: str) -> str:
        """A path of the subject's, as the world names it."""
        return self.places[place].format(**values)

    def knows(self, chapter: str) -> bool:
        """Does it claim to have this chapter?"""
        return chapters.reaches(self.claims, chapter)


def _filled(template: str, values: "dict[str, str] | dict[str, str | list[str]]") -> list[str]:
    """The template's words, each placeholder filled in.  Split first, filled then: a value stays one word whatever it holds."""
    words: list[str] = []
    for word in shlex.split(template):
        whole = values.get(word[1:-1]) if word.startswith("{") and word.endswith("}") else None
        if isinstance(whole, list):
            words += whole
        else:
            words.append(word.format(**values))
    return words


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
    word = dict(chapters.CHAPTERS)[number]
    name = "stage_commit" if number == "5.7" else f"stage_{number.replace('.', '_')}_{word}"
    return _tutorials_own(name, (str(CHECKOUT / "bin" / "stages"), "run", number, "--"), number)


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
    if "/" not in name:
        try:
            return of_stage(chapters.number_of(name))
        except KeyError:
            shipped = "".join(f"{file.stem}, " for file in sorted(SHIPPED.glob("*.toml")))
            raise SubjectError(
                f"there is no subject {name!r}: there are {shipped}our chapters (5.7, stage_commit), "
                "a file of your own (mine.toml), and a program (./mydocker)"
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
    "engine": str,
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
    differences = _texts(file, "differences", described.get("differences", {}))
    if odd := [name for name in differences if not (name[:1] in "DF" and name[1:].isdigit())]:
        raise SubjectError(f"{file}: differences.{odd[0]}: a behaviour is named D1 to D21, a known defect F1 to F23")
    if "pid" in described:
        _check_template(file, "pid", described["pid"], NEEDED["pid"], {"name"})
    return Subject(
        name=described.get("name", file.stem),
        program=_program(file, described["program"]),
        claims=claims,
        pid=described.get("pid", ""),
        engine=described.get("engine", ""),
        differences=differences,
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


def _texts(file: Path, table: str, given: dict[str, object]) -> dict[str, str]:
    for key, value in given.items():
        if not isinstance(value, str):
            raise SubjectError(f"{file}: {table}.{key} must be text in quotes")
    return {key: str(value) for key, value in given.items()}


def _check_template(file: Path, key: str, template: str, needed: set[str], allowed: set[str]) -> None:
    try:
        shlex.split(template)
        found = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise SubjectError(f"{file}: {key} = {template!r}: {error}") from None
    if missing := sorted(needed - found):
        raise SubjectError(f"{file}: {key} = {template!r}: the placeholder {{{missing[0]}}} is missing")
    if odd := sorted(found - allowed):
        raise SubjectError(
            f"{file}: {key} = {template!r}: there is no placeholder {{{odd[0]}}}: there are {', '.join(sorted(allowed))}"
        )


def _chapter(file: str, key: str, chapter: str) -> str:
    try:
        return chapters.number_of(chapter)
    except KeyError:
        raise SubjectError(
            f"{file}: {key}: there is no chapter {chapter!r}: there are {', '.join(chapters.NUMBERS)}"
        ) from None
