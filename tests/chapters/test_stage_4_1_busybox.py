"""4.1  An image becomes the container's root: pivot_root, then /proc and a tmpfs on /dev."""

import subprocess
from pathlib import Path

from tests.chapters.conftest import (
    ROOT_DIRECTORIES,
    Chapter,
    chapters,
    first_process,
    fresh,
    mountinfo,
    targets,
    visible,
)


@chapters("4.1", "4.2", "5.7")
def test_the_old_root_is_gone_and_not_hidden(chapter: Chapter, tmp_path: Path) -> None:
    """D7: after pivot_root no line of the container's table shows the host's root, and no path leads to a host's file."""
    content = fresh()
    (tmp_path / "secret").write_text(content)
    first = first_process(chapter.begin([], ["sleep", "1000"]), "sleep")
    ours = {line.split(" ")[4] for line in mountinfo()} - {"/", "/proc", "/dev"}
    assert ours and not ours & set(targets(first))
    # Whoever enters the mount namespace stands at its true root, where a chroot would show the host's.
    entered = ["nsenter", "-t", str(first), "-m", "ls", "/"]
    assert subprocess.run(entered, capture_output=True, text=True, check=True).stdout.split() == ROOT_DIRECTORIES
    climb = f"cat {tmp_path}/secret {'../' * 20}{tmp_path}/secret; chroot . cat {tmp_path}/secret"
    done = chapter.run([], ["sh", "-c", climb])
    assert done.code != 0 and content not in done.out
    assert (tmp_path / "secret").read_text() == content


@chapters("4.1", "4.2")
def test_a_missing_busybox_image_is_made(chapter: Chapter, tmp_path: Path) -> None:
    """Without `busybox.tar` in an empty root the program makes one, and it is one that GNU tar reads."""
    chapter.root = tmp_path / "empty" / "root"
    chapter.root.mkdir(parents=True)
    assert chapter.run([], ["true"]).code == 0
    assert visible(chapter.root) == {"busybox", "busybox.tar"}
    words = ["tar", "-tf", str(chapter.root / "busybox.tar"), "--exclude=*/*"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert sorted({name.strip("/") for name in listed} - {"."}) == ROOT_DIRECTORIES
