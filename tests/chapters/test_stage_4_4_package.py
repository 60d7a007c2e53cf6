"""4.4  The merged view, packed as a tar, is an image again: `commit IMAGE`."""

import os
import subprocess
from pathlib import Path

from tests.chapters.conftest import (
    ROOT_DIRECTORIES,
    Chapter,
    Terminal,
    chapters,
    eventually,
    fresh,
    mountinfo,
    visible,
)


def unpacked(tarball: Path, directory: Path) -> Path:
    """What plain GNU tar makes of it."""
    directory.mkdir()
    subprocess.run(["tar", "-xvf", str(tarball)], cwd=directory, check=True, capture_output=True)
    return directory


@chapters("4.4")
def test_seed_003_step_by_step(chapter: Chapter, tmp_path: Path) -> None:
    """D11, as the tutorial shows it: a shell at a terminal, `commit` in a second one, the root directory in the tar.

    `run -it /bin/sh` on a union of busybox and a write layer; `ls` of the root before and after; when the shell exits the
    layers go and the image stays.
    """
    image, note = fresh("myimage"), fresh()
    with Terminal(chapter, chapter.words(["-it"], ["/bin/sh"])) as terminal:
        terminal.type(f"cd / && pwd && echo {note} >/root/note && echo $((40 + 2))-written\n")
        terminal.await_text("42-written")
        mounted = [line for line in mountinfo() if line.split(" ")[4] == f"{chapter.root}/mnt"]
        assert len(mounted) == 1
        options = mounted[0].partition(" - ")[2]
        if options.startswith("overlay"):
            assert f"lowerdir={chapter.root}/busybox," in options and f"upperdir={chapter.root}/writeLayer," in options
        before = visible(chapter.root)
        assert before == {"busybox", "busybox.tar", "mnt", "writeLayer"}
        done = chapter("commit", image)
        assert (done.code, done.lines) == (0, [f"{chapter.root}/{image}.tar"]), done
        assert visible(chapter.root) == before | {f"{image}.tar"}
        root = unpacked(chapter.root / f"{image}.tar", tmp_path / image)
        assert sorted(os.listdir(root)) == ROOT_DIRECTORIES
        assert (root / "root" / "note").read_text() == f"{note}\n"
        terminal.type("exit\n")
        assert terminal.await_end() == 0
    eventually(lambda: visible(chapter.root) == {"busybox", "busybox.tar", f"{image}.tar"})


@chapters("4.4", "5.6")
def test_without_a_container_there_is_nothing_to_commit(chapter: Chapter) -> None:
    """When no container runs its layers are gone, and `commit` says so; it takes one word, the image."""
    image = fresh("image")
    for words in ([image], [], ["container", image]):
        done = chapter("commit", *words)
        assert (done.code, done.out, done.err.count("\n")) == (125, "", 1), words
