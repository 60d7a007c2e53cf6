"""5.6  `rm` undoes what `run` did, from the journal; a container that runs is refused."""

import os

import pytest

from tests.chapters.conftest import (
    Chapter,
    chapters,
    eventually,
    fresh,
    is_gone,
    row,
    targets,
    visible,
)


@chapters("5.6")
def test_a_refused_rm_says_what_to_do_and_after_it_the_name_is_free(chapter: Chapter) -> None:
    """D19: the record's directory holds two files and nothing else; `rm` of what runs says `stop`."""
    name = fresh("bird")
    chapter.detach(["top"], name=name)
    assert sorted(os.listdir(chapter.state / name)) == ["config.json", "container.log"]
    done = chapter("rm", name)
    assert (done.code, done.out) == (125, "") and "stop" in done.err
    assert chapter("stop", name).code == 0
    assert chapter("rm", name).code == 0
    assert chapter("rm", name).code == 125
    chapter.detach(["top"], name=name)


@chapters("5.6")
def test_rm_of_one_leaves_the_shared_layer_to_the_other(chapter: Chapter) -> None:
    """In 5.6 all share one layer: `rm` of one container leaves the mount to the one that runs; `rm` of the last takes it away."""
    name, other, content = fresh("bird"), fresh("bird"), fresh()
    chapter.detach(["top"], name=name)
    chapter.detach(["sh", "-c", f"echo {content} >/{content}; exec top"], name=other)
    view = chapter.root / "mnt"
    eventually(lambda: (view / content).exists())
    assert chapter("stop", name).code == 0 and chapter("rm", name).code == 0
    assert targets().count(str(view)) == 1
    assert chapter("exec", other, "cat", f"/{content}").out == f"{content}\n"
    assert chapter("stop", other).code == 0 and chapter("rm", other).code == 0
    assert visible(chapter.root) == {"busybox", "busybox.tar"}


@chapters("5.6")
@pytest.mark.parametrize("words", ["-f {}", "{} -f", "--f {}"])
def test_rm_f_removes_also_what_runs(chapter: Chapter, words: str) -> None:
    """`rm -f`, with the flag before or after the name, ends the container first."""
    name = fresh("bird")
    first = chapter.detach(["sleep", "1000"], name=name)
    assert chapter("rm", *words.format(name).split()).code == 0
    assert is_gone(first)
    assert row(chapter, name) is None
