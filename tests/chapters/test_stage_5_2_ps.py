"""5.2  What runs is written down, has a name, and is listed by `ps`."""

import json
import re
import time

import pytest

from tests.chapters.conftest import (
    Chapter,
    Terminal,
    first_process,
    fresh,
    holds,
    is_gone,
    row,
    rows,
    status,
)
from tests.conftest import eventually


@holds("5.2")
def test_a_ti_container_is_in_another_terminals_ps_and_leaves_it_at_exit(chapter: Chapter) -> None:
    """D14: while a `-ti` container runs, `ps` in another terminal lists it with its real PID; after its exit it doesn't."""
    name = fresh("bird")
    with Terminal(chapter, chapter.words(["-ti", "--name", name], ["sh"])) as terminal:
        terminal.type("echo $((40 + 2))-is-there\n")
        terminal.await_text("42-is-there")
        found = row(chapter, name)
        assert found and (found["STATUS"], found["COMMAND"]) == ("running", "sh")
        assert status(found["PID"], "NSpid").split() == [found["PID"], "1"]
        assert int(found["PID"]) == terminal.foreground
        terminal.type("exit\n")
        assert terminal.await_end() == 0
    assert row(chapter, name) is None
    assert not (chapter.state / name).exists()


@holds("5.2")
def test_the_name_of_an_unnamed_container_is_its_id_of_ten_digits(chapter: Chapter) -> None:
    """D15: without `--name` the columns NAME and ID are equal, ten digits, and another container has others."""
    chapter.detach(["top"])
    chapter.detach(["top"])
    found = rows(chapter)
    assert len(found) == 2
    for one in found:
        assert re.fullmatch(r"[0-9]{10}", one["ID"]) and one["NAME"] == one["ID"]
    assert found[0]["ID"] != found[1]["ID"]


@holds("5.2")
def test_ps_prints_the_documented_table_and_the_record_has_the_documented_keys(chapter: Chapter) -> None:
    """The header is ID NAME PID STATUS COMMAND CREATED; config.json holds pid, id, name, command, create_time, status, volume."""
    name, before = fresh("bird"), time.strftime("%Y-%m-%d %H:%M:%S")
    first = chapter.detach(["sleep", "1000"], name=name)
    after = time.strftime("%Y-%m-%d %H:%M:%S")
    assert chapter("ps").lines[0].split() == ["ID", "NAME", "PID", "STATUS", "COMMAND", "CREATED"]
    (found,) = rows(chapter)
    assert (found["NAME"], found["PID"], found["STATUS"]) == (name, str(first), "running")
    assert found["COMMAND"] == "sleep 1000"
    assert before <= found["CREATED"] <= after
    record = json.loads((chapter.state / name / "config.json").read_text())
    assert {"pid", "id", "name", "command", "create_time", "status", "volume"} <= set(record)
    assert (record["name"], str(record["pid"]), record["id"]) == (name, str(first), found["ID"])


@holds("5.2")
def test_a_container_that_has_ended_is_not_running(chapter: Chapter) -> None:
    """D13 in `ps`: a detached container that ended by itself is not said to run for ever, and its PID column is empty."""
    name = fresh("bird")
    first = chapter.detach(["sleep", "0.5"], name=name)
    found = row(chapter, name)
    assert found and found["PID"] in ("", str(first))
    eventually(lambda: is_gone(first))
    found = row(chapter, name)
    assert found and found["STATUS"] != "running" and found["PID"] == ""


@pytest.mark.parametrize("chapter", ["5.2", "5.7"], indirect=True)
@pytest.mark.parametrize("spelling", ["-name {}", "--name {}", "-name={}", "--name={}"])
def test_a_name_is_given_in_any_spelling(chapter: Chapter, spelling: str) -> None:
    """`-name`, `--name`, with a blank or `=`: the container has that name, in `ps` and as the kernel's host name."""
    name = fresh("bird")
    assert chapter.run(["-d", *spelling.format(name).split()], ["top"]).code == 0
    assert row(chapter, name)
    first = first_process(chapter.begin(spelling.format(fresh("b")).split(), ["sleep", "1000"]), "sleep")
    assert first and len(rows(chapter)) == 2


@holds("5.2")
def test_a_name_is_taken_by_one_container_only(chapter: Chapter) -> None:
    """A second container of the same name is refused, and the first one's record stays as it was."""
    name = fresh("bird")
    first = chapter.detach(["top"], name=name)
    record = (chapter.state / name / "config.json").read_bytes()
    done = chapter.run(["-d", "--name", name], ["top"])
    assert (done.code, done.out) == (125, "") and name in done.err
    assert (chapter.state / name / "config.json").read_bytes() == record
    assert not is_gone(first)


@pytest.mark.parametrize("chapter", ["5.2"], indirect=True)
@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", ".hidden", "-x", "x" * 65, "a b"])
def test_a_name_that_leads_elsewhere_is_refused(chapter: Chapter, name: str) -> None:
    """A name is a file's name: nothing else is made of it, and nothing is run."""
    done = chapter.run(["--name", name], ["echo", "it ran"])
    assert (done.code, done.out) == (125, "")


@pytest.mark.parametrize("chapter", ["5.2"], indirect=True)
@pytest.mark.parametrize("explain", [[], ["--explain"]], ids=["run", "explain"])
def test_a_name_in_use_is_refused_without_a_verb_that_comes_later(chapter: Chapter, explain: list[str]) -> None:
    """Defect 11: the sentence names the name, and no `rm`, which comes with chapter 5.6."""
    name = fresh("bird")
    chapter.detach(["top"], name=name)
    done = chapter("run", *explain, "-d", "--name", name, "top")
    assert (done.code, done.out, done.err.count("\n")) == (125, "", 1)
    assert f" {name} " in done.err and "rm" not in done.err.replace(name, "")
