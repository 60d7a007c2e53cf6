"""4.3  A directory of the host, mounted into the container, outlives it."""

import os
import signal
import subprocess
from pathlib import Path

from tests.chapters.conftest import Chapter, chapters, first_process, fresh, tree


@chapters("4.3", "5.7")
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


@chapters("4.3")
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
