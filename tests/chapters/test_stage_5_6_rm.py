"""5.6  `rm` undoes what `run` did, from the journal; a container that runs is refused."""

import os
from pathlib import Path

import pytest

from tests.chapters.conftest import (
    Chapter,
    eventually,
    fresh,
    group_directory,
    holds,
    is_gone,
    row,
    targets,
    visible,
)


@holds("5.6")
def test_before_rm_there_are_config_json_and_container_log_and_after_it_nothing(chapter: Chapter) -> None:
    """D19: the record's directory holds these two files; `rm` of the running container is refused; after stop and rm all is gone."""
    name = fresh("bird")
    first = chapter.detach(["top"], "-m", "100m", name=name)
    group = group_directory(first, "memory")
    assert group.is_dir() and str(chapter.view(name)) in targets()
    assert sorted(os.listdir(chapter.state / name)) == ["config.json", "container.log"]

    done = chapter("rm", name)
    assert (done.code, done.out) == (125, "") and "stop" in done.err
    assert not is_gone(first) and str(chapter.view(name)) in targets() and group.is_dir()
    assert sorted(os.listdir(chapter.state / name)) == ["config.json", "container.log"]

    assert chapter("stop", name).code == 0
    assert chapter("rm", name).code == 0
    assert not (chapter.state / name).exists()
    assert row(chapter, name) is None
    assert str(chapter.view(name)) not in targets() and not group.exists()
    assert visible(chapter.root) == {"busybox", "busybox.tar"}
    assert chapter("rm", name).code == 125
    chapter.detach(["top"], name=name)  # the name is free again


@holds("5.6")
def test_a_container_that_ended_by_itself_can_be_removed(chapter: Chapter) -> None:
    """D19: it need not be stopped first."""
    name = fresh("bird")
    chapter.detach_to_the_end(["sleep", "0.2"], name=name)
    assert row(chapter, name)
    assert chapter("rm", name).code == 0
    assert row(chapter, name) is None
    assert visible(chapter.root) == {"busybox", "busybox.tar"}


@pytest.mark.parametrize("chapter", ["5.6"], indirect=True)
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


@pytest.mark.parametrize("chapter", ["5.6", "5.8"], indirect=True)
def test_rm_leaves_the_volumes_data(chapter: Chapter, tmp_path: Path) -> None:
    """What is the host's stays: `rm` unmounts a volume and touches nothing in it."""
    name, content = fresh("bird"), fresh()
    chapter.detach_to_the_end(["sh", "-c", f"echo {content} >/to1/file"], "-v", f"{tmp_path}/from:/to1", name=name)
    assert chapter("rm", name).code == 0
    assert (tmp_path / "from" / "file").read_text() == f"{content}\n"


@pytest.mark.parametrize("chapter", ["5.6", "5.8"], indirect=True)
@pytest.mark.parametrize("words", ["-f {}", "{} -f", "--f {}"])
def test_rm_f_removes_also_what_runs(chapter: Chapter, words: str) -> None:
    """`rm -f`, with the flag before or after the name, ends the container first."""
    name = fresh("bird")
    first = chapter.detach(["sleep", "1000"], name=name)
    assert chapter("rm", *words.format(name).split()).code == 0
    assert is_gone(first)
    assert row(chapter, name) is None
