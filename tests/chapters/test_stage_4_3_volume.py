"""4.3  A directory of the host, mounted into the container, outlives it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.chapters.conftest import (
    Chapter,
    eventually,
    first_process,
    fresh,
    holds,
    mountinfo,
    targets,
    tree,
    until,
)


@holds("4.3")
def test_a_volume_is_made_written_and_outlives_the_container(chapter: Chapter, tmp_path: Path) -> None:
    """D10: a missing host directory is made; a file written in the container is on the host, stays there, and a second run sees it."""
    host, name, content = tmp_path / fresh() / "deep", fresh(), fresh()
    assert not host.parent.exists()
    volume = ["-v", f"{host}:/to1"]
    assert chapter.run(volume, ["sh", "-c", f"echo {content} >/to1/{name}"]).code == 0
    assert (host / name).read_text() == f"{content}\n"
    assert not [target for target in targets() if target.startswith(str(chapter.root))], (
        "the mount went with the container"
    )
    assert chapter.run(volume, ["cat", f"/to1/{name}"]).out == f"{content}\n"
    assert tree(host) == {name}
    assert chapter.run([], ["ls", "/to1"]).code != 0, "who asks for no volume has none"


@holds("4.3")
def test_the_kernel_shows_the_volume_on_both_sides(chapter: Chapter, tmp_path: Path) -> None:
    """D10: while it runs, the host's directory is mounted in the container at that path, and what either side writes both see."""
    host, name, answer = tmp_path / "from", fresh(), fresh()
    runtime = chapter.begin(
        ["-v", f"{host}:/a/b"], ["sh", "-c", f"{until(f'/a/b/{name}')}; echo >/a/b/{answer}; exec sleep 1000"]
    )
    eventually(host.exists)
    (host / name).touch()
    first = first_process(runtime, "sleep")
    assert (host / answer).exists()
    device_root = [line.split(" ")[2:4] for line in mountinfo(first) if line.split(" ")[4] == "/a/b"]
    assert len(device_root) == 1 and device_root[0][1].endswith(str(host)[-20:])


@pytest.mark.parametrize("chapter", ["4.3", "5.7"], indirect=True)
def test_what_the_volume_gets_is_not_in_the_write_layer(chapter: Chapter, tmp_path: Path) -> None:
    """D10: in the write layer there is only the empty directory that it is mounted on."""
    name = fresh()
    words = ["sh", "-c", f"echo >/to1/{name}; exec sleep 1000"]
    options = ["-v", f"{tmp_path}/from:/to1"]
    if chapter.knows("5.7"):
        options += ["--name", "bird"]
    first_process(chapter.begin(options, words), "sleep")
    assert (tmp_path / "from" / name).exists()
    assert tree(chapter.layer("bird")) == {"to1/"}


@pytest.mark.parametrize("chapter", ["4.3", "5.7"], indirect=True)
def test_there_can_be_several_volumes(chapter: Chapter, tmp_path: Path) -> None:
    """`-v` again and again: each directory is mounted where it was asked for."""
    names = [fresh() for _ in range(3)]
    options = [word for n, name in enumerate(names) for word in ("-v", f"{tmp_path}/{name}:/to{n}")]
    script = "; ".join(f"echo {name} >/to{n}/file" for n, name in enumerate(names))
    assert chapter.run(options, ["sh", "-c", script]).code == 0
    assert [(tmp_path / name / "file").read_text().strip() for name in names] == names


@pytest.mark.parametrize("chapter", ["4.3", "5.7"], indirect=True)
@pytest.mark.parametrize(
    "value", ["nocolon", "relative:/to", "/from:relative", "/from:/../../etc", "/from:/", "/a:/b:/c"]
)
def test_a_bad_volume_is_refused(chapter: Chapter, value: str) -> None:
    """A value that is no pair of absolute paths, or that leads out of the container, is refused before anything is done."""
    done = chapter.run(["-v", value], ["echo", "it ran"])
    assert (done.code, done.out, done.err.count("\n")) == (125, "", 1)
    assert not Path("/from").exists()


@pytest.mark.parametrize("chapter", ["4.3"], indirect=True)
def test_a_volume_in_use_is_named_by_its_whole_path(chapter: Chapter, tmp_path: Path) -> None:
    """Defect 7: when somebody works in the volume, the host's data stays, and the message tells where to look."""
    runtime = chapter.begin(["-v", f"{tmp_path}/from:/a/to"], ["sleep", "1000"])
    first = first_process(runtime, "sleep")
    (tmp_path / "from" / "file").touch()
    where = chapter.view("") / "a" / "to"
    holder = subprocess.Popen(["sleep", "1000"], cwd=where)
    os.kill(first, signal.SIGKILL)
    _, err = runtime.communicate(timeout=10)
    holder.kill()
    holder.wait()
    assert f"fuser -vm {where}`".encode() in err
    assert tree(tmp_path / "from") == {"file"}
