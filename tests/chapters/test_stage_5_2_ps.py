"""5.2  What runs is written down, has a name, and is listed by `ps`."""

import json
import time

import pytest

from tests.chapters.conftest import (
    Chapter,
    chapters,
    first_process,
    fresh,
    row,
    rows,
)


@chapters("5.2", "5.8")
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


@chapters("5.2")
@pytest.mark.parametrize("spelling", ["-name {}", "--name {}", "-name={}", "--name={}"])
def test_a_name_is_given_in_any_spelling(chapter: Chapter, spelling: str) -> None:
    """`-name`, `--name`, with a blank or `=`: the container has that name, in `ps` and as the kernel's host name."""
    name = fresh("bird")
    assert chapter.run(["-d", *spelling.format(name).split()], ["top"]).code == 0
    assert row(chapter, name)
    first = first_process(chapter.begin(spelling.format(fresh("b")).split(), ["sleep", "1000"]), "sleep")
    assert first and len(rows(chapter)) == 2


@chapters("5.2")
@pytest.mark.parametrize("explain", [[], ["--explain"]], ids=["run", "explain"])
def test_a_name_in_use_is_refused_without_a_verb_that_comes_later(chapter: Chapter, explain: list[str]) -> None:
    """Defect 11: the sentence names the name, and no `rm`, which comes with chapter 5.6."""
    name = fresh("bird")
    chapter.detach(["top"], name=name)
    done = chapter("run", *explain, "-d", "--name", name, "top")
    assert (done.code, done.out, done.err.count("\n")) == (125, "", 1)
    assert f" {name} " in done.err and "rm" not in done.err.replace(name, "")
