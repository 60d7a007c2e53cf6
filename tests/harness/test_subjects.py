"""Subjects: a command line in whatever spelling, and one sentence when its description can't be right."""

from pathlib import Path

import pytest

from harness import chapters, subjects
from harness.choice import chosen
from harness.subjects import SubjectError, find, load

GOOD = 'program = "/bin/sh run.sh"\nclaims = "5.7"\n'


def written(directory: Path, text: str) -> Path:
    """A subject's file."""
    file = directory / "mine.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        (GOOD + 'colour = "red"\n', "'colour'", "places, differences"),
        (GOOD + "verbs = 5\n", "verbs", "a table"),
        ("program = 5\n", "program", "text in quotes"),
        ('claims = "5.7"\n', "program", "how is it called"),
        ('program = "/bin/sh"\n', "claims", "which chapter"),
        ('program = "/nosuch/program"\nclaims = "5.7"\n', "program", "not there"),
        ('program = "/etc/passwd"\nclaims = "5.7"\n', "program", "not executable"),
        ('program = "/bin/sh"\nclaims = "9.9"\n', "claims", "3.1, 3.2"),
        (GOOD + '[verbs]\nfetch = "fetch"\n', "verbs.fetch", "run, commit, ps"),
        (GOOD + '[verbs]\nstop = "halt"\n', "verbs.stop", "{name}"),
        (GOOD + '[verbs]\nstop = "halt {who} {name}"\n', "verbs.stop", "{who}"),
        (GOOD + '[verbs]\nrun = "run {options}"\n', "verbs.run", "{command}"),
        (GOOD + '[verbs]\nstop = "halt \'{name}"\n', "verbs.stop", "quotation"),
        (GOOD + "[verbs]\nstop = 5\n", "verbs.stop", "text in quotes"),
        (GOOD + '[options]\nvolume = "-v {host}"\n', "options.volume", "{inside}"),
        (GOOD + '[places]\nattic = "/root"\n', "places.attic", "tarball, image"),
        (GOOD + '[differences]\nsome = "because"\n', "differences.some", "D1 to D21"),
        ("program = \n", "can't be read", "line 1"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_in_one_sentence(
    tmp_path: Path, text: str, key: str, allowed: str
) -> None:
    """The sentence names the file, the key, and what is allowed."""
    file = written(tmp_path, text)
    with pytest.raises(SubjectError) as refused:
        load(file)
    sentence = str(refused.value)
    assert sentence.startswith(str(file)) and key in sentence and allowed in sentence
    assert "\n" not in sentence


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    for name in (str(tmp_path / "mine.toml"), str(tmp_path / "mydocker")):
        with pytest.raises(SubjectError, match=f"{name}: there is no such"):
            find(name)
    with pytest.raises(SubjectError, match="no subject 'nosuch'"):
        find("nosuch")
    with pytest.raises(SubjectError, match="two subjects"):
        chosen(["ours", "5.8"], "")


def test_a_value_stays_one_word_whatever_it_holds(tmp_path: Path) -> None:
    """Also if it looks like a placeholder, or like two words, or is empty."""
    subject = load(written(tmp_path, GOOD + '[options]\nvolume = "--mount src={host},dst={inside}"\n'))
    odd = ["two words", "", "{name}", "$(id)", "'", "-m"]
    options = [("terminal", {}), ("volume", {"host": "/a b", "inside": "/{c}"})]
    words = subject.words("run", options, image="my image", command=odd)
    assert words[1:] == ["run.sh", "run", "-ti", "--mount", "src=/a b,dst=/{c}", "my image", *odd]
    assert subject.words("exec", [], name="a b", command=odd)[2:] == ["exec", "a b", *odd]
    assert subject.place("layer", name="a b") == "/root/writeLayer/a b"


def test_before_5_7_there_is_no_image_on_the_command_line(tmp_path: Path) -> None:
    subject = load(written(tmp_path, 'program = "/bin/sh"\nclaims = "4.4"\n'))
    assert subject.words("run", [], image="busybox", command=["true"])[1:] == ["run", "true"]
    assert subject.words("commit", [], name="bird", image="mine")[1:] == ["commit", "mine"]
    assert subject.place("layer", name="bird") == "/root/writeLayer"


def test_a_chapter_limits_a_claim_and_does_not_raise_it(tmp_path: Path) -> None:
    file = str(written(tmp_path, GOOD))
    assert [find(file, chapter).claims for chapter in ("", "4.2", "5.7", "5.8")] == ["5.7", "4.2", "5.7", "5.7"]


def test_the_ladder_is_our_chapters_each_as_a_program() -> None:
    ladder = subjects.ladder()
    assert [subject.claims for subject in ladder] == list(chapters.NUMBERS)
    assert ladder[0].words("run", [], command=["true"])[1:] == ["run", "3.1", "--", "run", "true"]
    assert Path(ladder[0].program[0]).is_file()
    assert find("stage_commit") == find("commit") == find("5.7") == ladder[-2]
