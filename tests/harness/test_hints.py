"""Hints: every check has some, they are short, and what is wrong with a file of them is said in one sentence."""

import fnmatch
import tomllib
from pathlib import Path

import pytest

from harness import chapters, hints
from harness.hints import HintError
from harness.plugin import Cell
from harness.subjects import CHECKOUT

LONGEST = 200  # letters
FOR_ALL = (chapters.NUMBERS[0], "nothing_left")  # not for one check


def test_every_check_has_hints_and_no_hints_are_without_a_check(cells: list[Cell]) -> None:
    """Those of a check are in the directory of the chapter that it comes with."""
    written = {(chapter, key) for chapter in chapters.NUMBERS for key in hints.load(hints.file_of(chapter))}
    assert written == {(cell.since, hints.name_of(cell.key)) for cell in cells} | {FOR_ALL}


@pytest.mark.parametrize("chapter", chapters.NUMBERS)
def test_hints_are_a_few_short_sentences_from_the_first_to_the_last(chapter: str) -> None:
    for key, some in hints.load(hints.file_of(chapter)).items():
        assert 2 <= len(some) <= 4, key
        assert len(set(some)) == len(some), key
        for hint in some:
            assert len(hint) <= LONGEST and "\n" not in hint and hint == hint.strip(), hint
            assert hint.count("`") % 2 == 0, hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no such file"),
        ("[pid_1\n", "can't be read"),
        ('pid_1 = "one"\n', "pid_1 must be a table"),
        ('[pid_1]\nhint = ["one"]\n', "pid_1 must be a table with one key, `hints`"),
        ('[pid_1]\nhints = "one"\n', "pid_1.hints must be a list"),
        ("[pid_1]\nhints = []\n", "pid_1.hints must be a list"),
        ("[pid_1]\nhints = [1, 2]\n", "pid_1.hints must be a list"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_in_one_sentence(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "hints.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(HintError) as refused:
        hints.load(file)
    assert str(refused.value).startswith(str(file)) and says in str(refused.value) and "\n" not in str(refused.value)


def test_a_check_without_hints_is_named() -> None:
    with pytest.raises(HintError, match=r"stage_3_1_run/hints\.toml: there is no key nosuch$"):
        hints.of_check("nosuch[top]", "3.1")


def test_hints_are_packaged() -> None:
    """They belong to the chapters, which can be installed without the harness."""
    tools = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert any(fnmatch.fnmatch("hints.toml", pattern) for pattern in tools["package-data"]["*"])
    assert {chapters.directory(chapter) for chapter in chapters.NUMBERS} <= set(tools["packages"])
