"""Hints: for each check a few, from gentle to nearly the answer, in `hints.toml` in the directory of the chapter it comes with."""

import tomllib
from pathlib import Path

from harness import chapters
from harness.subjects import CHECKOUT


class HintError(Exception):
    """A file of hints is not as it has to be.  One sentence that names the file and the key."""


def file_of(chapter: str, checkout: Path = CHECKOUT) -> Path:
    """Where the hints of a chapter are."""
    return checkout / chapters.directory(chapter) / "hints.toml"


def load(file: Path) -> dict[str, list[str]]:
    """The hints in a file, by the key of the check they are for.  Raises HintError."""
    try:
        found = tomllib.loads(file.read_text())
    except FileNotFoundError:
        raise HintError(f"{file}: there is no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise HintError(f"{file} can't be read: {error}") from None
    for key, table in found.items():
        if not isinstance(table, dict) or list(table) != ["hints"]:
            raise HintError(f"{file}: {key} must be a table with one key, `hints`")
        hints = table["hints"]
        if not (isinstance(hints, list) and hints and all(isinstance(hint, str) and hint for hint in hints)):
            raise HintError(f"{file}: {key}.hints must be a list of texts in quotes")
    return {key: table["hints"] for key, table in found.items()}


def name_of(key: str) -> str:
    """The name under which a check's hints are: one for all its cases, `stop` for stop[top] and stop[sleep]."""
    return key.partition("[")[0]


def of_check(key: str, chapter: str) -> list[str]:
    """The hints for a check of this key, which comes with this chapter.  Raises HintError."""
    file = file_of(chapter)
    try:
        return load(file)[name_of(key)]
    except KeyError:
        raise HintError(f"{file}: there is no key {name_of(key)}") from None
