"""Each chapter's page: whatever it shows is done again, and has to come out the same."""

import re
from pathlib import Path

import pytest

from harness import chapters, subjects
from harness.cgroup_version import cgroup_version
from harness.subjects import CHECKOUT
from harness.transcripts import PageError, Play, blocks, check_page, typed
from harness.world import World

PAGES = sorted(CHECKOUT.glob("stage_*/README.md"))
ENVIRONMENT = {"PATH": f"{CHECKOUT}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "COLUMNS": "120"}


def number(page: Path) -> str:
    return chapters.number_of(page.parent.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_what_the_page_shows_is_what_happens(page: Path) -> None:
    explain = list(subjects.of_stage(number(page)).program)
    with World(limit=20) as world:
        assert check_page(page, world, ENVIRONMENT, explain) >= 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_the_page_has_all_its_parts(page: Path) -> None:
    heads = [line[3:] for line in page.read_text().splitlines() if line.startswith("## ")]
    assert heads == [
        "The question",
        "The idea",
        "Try it",
        "By hand",
        "The code",
        "Look at it",
        "What the original got wrong",
        "What Docker does",
    ]
    longest = max(len(sentence.split()) for sentence in _prose(page.read_text()).replace("\n", " ").split(". "))
    assert longest <= 40, "a sentence for a beginner is short"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_defect_names_a_check_that_there_is(page: Path) -> None:
    files = (CHECKOUT / "tests" / "behaviours").glob("test_*.py")
    checks = {name for file in files for name in re.findall(r"^def test_(\w+)", file.read_text(), re.MULTILINE)}
    section = page.read_text().partition("## What the original got wrong\n")[2].partition("\n## ")[0]
    defects = [defect.partition("\n\n")[0] for defect in section.split("\n- ")[1:]]
    assert defects
    assert [defect for defect in defects if not checks & set(re.findall(r"`(\w+)`", defect))] == []


def _prose(page: str) -> str:
    kept, inside = [], False
    for line in page.splitlines():
        inside = inside != line.startswith("```")
        if not inside and line and not line.startswith(("#", "```", "|", "- ")):
            kept.append(line)
    return "\n".join(kept)


# The runner itself


@pytest.fixture
def play() -> "Play":
    with World(limit=20) as world:
        yield Play(world, ENVIRONMENT)  # type: ignore[misc]


def block(*lines: str, info: str = "") -> str:
    return "\n".join([f"```console {info}".strip(), *lines, "```"])


def test_a_changed_output_fails_with_the_difference(play: Play) -> None:
    (one,) = blocks(block("$ echo one; echo two", "one", "three"))
    with pytest.raises(PageError) as failed:
        play.play(one)
    assert "-three" in str(failed.value) and "+two" in str(failed.value) and "line 2" in str(failed.value)


def test_a_shell_keeps_what_was_set_and_two_terminals_do_not_share_it(play: Play) -> None:
    for text in (
        block("$ cd /tmp; word=a"),
        block("$ pwd; echo $word", "/tmp", "a"),
        block("$ pwd; echo $word", "/root", "", info="second"),
    ):
        play.play(blocks(text)[0])


def test_holes_with_a_digit_are_the_same_everywhere(play: Play) -> None:
    play.play(blocks(block("$ sh -c 'echo $$ and $PPID'", "<pid1> and <pid2>"))[0])
    assert play.bound.keys() == {"<pid1>", "<pid2>"}
    play.play(blocks(block("$ echo <pid1>", "<pid1>"))[0])
    with pytest.raises(PageError):
        play.play(blocks(block("$ echo <pid2>", "<pid1>"))[0])


@pytest.mark.parametrize(
    ("expected", "found", "fits"),
    [
        (["a  b"], ["a b "], True),
        (["a", "…", "z"], ["a", "b", "c", "z"], True),
        (["a", "…", "z"], ["a", "z"], True),
        (["a…"], ["abc"], True),
        (["a"], ["a", "b"], False),
        (["a"], [], False),
        (["<id>"], ["1234567890"], True),
        (["<id>"], ["123"], False),
        (["<time>"], ["2026-01-02 03:04:05"], True),
        (["[<word>] (.*)"], ["[x] (.*)"], True),
        (["[<word>] (.*)"], ["[x] yz"], False),
    ],
)
def test_what_fits(play: Play, expected: list[str], found: list[str], fits: bool) -> None:
    assert play.fits(expected, found) is fits


def test_a_containers_shell_is_typed_to(play: Play) -> None:
    lines = ["$ stages run 4.2 -- run -ti sh", "/ # echo $$", "1", "/ # exit", "$ echo back", "back"]
    play.play(blocks(block(*lines))[0])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_script_is_shown_for_either_version_of_cgroups(play: Play, tmp_path: Path, version: str) -> None:
    """For v2 on every machine; for v1, which a machine with v2 can't pretend to have, only where it is so."""
    limits = {"v1": "memory.limit_in_bytes", "v2": "memory.max"}
    page = tmp_path / "README.md"
    explain = list(subjects.of_stage("3.2").program)
    for other in limits:
        shown = f"echo 104857600 ><word>/zocker/<id>/{limits[other]}"
        page.write_text(f"```sh explain {version}: run -m 100m true\n{shown}\n```\n")
        if version == "v1" != cgroup_version():
            assert check_page(page, play.world, ENVIRONMENT, explain) == 0
        elif other == version:
            assert check_page(page, play.world, ENVIRONMENT, explain) == 1
        else:
            with pytest.raises(PageError, match="has no line"):
                check_page(page, play.world, ENVIRONMENT, explain)


@pytest.mark.parametrize("page", ["```console\n$ ls", "```console\nls\n```"])
def test_a_page_that_can_not_be_read_says_where(page: str) -> None:
    with pytest.raises(PageError, match=r"line \d"):
        [typed(each) for each in blocks(page)]
