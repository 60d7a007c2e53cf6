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
        (GOOD + '[places]\nlayer = "$ where \'{name}"\n', "places.layer", "quotation"),
        (GOOD + '[places]\nlayer = "$ where {who}"\n', "places.layer", "{who}"),
        (GOOD + 'pid = "$ pid"\n', "pid", "{name}"),
        (GOOD + '[differences]\nsome = "because"\n', "differences.some", "D1, D2, "),
        (GOOD + '[differences]\nD99 = "because"\n', "differences.D99", "D1, D2, "),
        (GOOD + '[differences]\n"D19 nosuch" = "because"\n', "differences.D19 nosuch", '"D19 record", "D19 rm"'),
        (GOOD + "[differences]\nD1 = 5\n", "differences.D1", "text in quotes"),
        (GOOD + 'engine = "dockerd"\n', "engine", "a table"),
        (GOOD + '[engine]\nbegin = "dockerd"\n', "engine.begin", "start, ready, load, keeps, files"),
        (GOOD + '[engine]\nstart = "dockerd"\n', "engine.ready", "ends with 0"),
        (GOOD + '[engine]\nload = "import {tarball}"\n', "engine.load", "{image}"),
        (GOOD + '[engine]\nfiles = "none"\n', "engine.files", "a table"),
        (GOOD + '[engine.files]\n"/usr/bin/x" = ""\n', "/usr/bin/x", "/etc/, /run/"),
        (GOOD + '[engine.files]\n"/etc/../usr/x" = ""\n', "/etc/../usr/x", "/etc/, /run/"),
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


def test_what_begins_with_a_dollar_is_a_command_of_its_own(tmp_path: Path) -> None:
    """A verb in the place of the program; of a place the one that prints the path, with braces of its own."""
    text = (
        GOOD
        + """
        [verbs]
        ps = '''$ sh -c '"$@" list | sort' sh {program}'''
        [options]
        foreground = "--rm"
        [places]
        layer = "$ {program} inspect -f '{{{{.Upper}}}}' {name}"
        """
    )
    subject = load(written(tmp_path, text))
    assert subject.words("ps", []) == ["sh", "-c", '"$@" list | sort', "sh", *subject.program]
    assert subject.finder("layer", name="a b") == [*subject.program, "inspect", "-f", "{{.Upper}}", "a b"]
    assert subject.finder("view", name="a b") == [] and subject.place("view", name="a b") == "/root/mnt/a b"
    with pytest.raises(AssertionError, match="has to be asked"):
        subject.place("layer", name="a b")
    options = [("foreground", {})]
    assert subject.words("run", options, image="busybox", command=["true"])[2:] == ["run", "--rm", "busybox", "true"]


def test_a_difference_is_of_a_whole_behaviour_or_of_one_check(tmp_path: Path) -> None:
    """The check's own sentence comes first."""
    text = '[differences]\nD1 = "it runs nothing"\n"D19 rm" = "it keeps all"\n"D1 pid_1" = "it counts from 0"\n'
    subject = load(written(tmp_path, GOOD + text))
    assert subject.difference("D1", "five_namespaces") == "it runs nothing"
    assert subject.difference("D1", "pid_1") == "it counts from 0"
    assert (subject.difference("D19", "rm"), subject.difference("D19", "record")) == ("it keeps all", "")


def test_the_shipped_subjects_are_as_they_have_to_be() -> None:
    for name in ("docker", "podman"):
        subject = find(name)
        assert (subject.name, subject.claims) == (name, "5.8")
        assert subject.engine and subject.engine.needs and subject.engine.install and subject.engine.load
        assert all(sentence and "\n" not in sentence for sentence in subject.differences.values())


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
