"""4.1  An image becomes the container's root: pivot_root, then /proc and a tmpfs on /dev."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.chapters.conftest import (
    ROOT_DIRECTORIES,
    Chapter,
    first_process,
    fresh,
    holds,
    mountinfo,
    targets,
    tree,
    visible,
)


def mounts_of(pid: int) -> list[tuple[str, str]]:
    """Where, and which type of file system, in the order in which they were mounted."""
    return [(line.split(" ")[4], line.partition(" - ")[2].split(" ")[0]) for line in mountinfo(pid)]


@holds("4.1")
def test_the_root_holds_what_the_image_holds(chapter: Chapter) -> None:
    """D7: `/` holds bin dev etc home proc root sys tmp usr var and nothing else, inside and by the kernel's own door."""
    assert chapter.run([], ["ls", "-a", "/"]).out.split() == [".", "..", *ROOT_DIRECTORIES]
    first = first_process(chapter.begin([], ["sleep", "1000"]), "sleep")
    assert sorted(os.listdir(f"/proc/{first}/root")) == ROOT_DIRECTORIES
    assert not os.path.samefile(f"/proc/{first}/root", "/")


@holds("4.1", until="4.3")
def test_three_mounts_and_no_other(chapter: Chapter) -> None:
    """D7 to the letter (4.1 and 4.2): the root, proc on /proc, a tmpfs on /dev; in `mount` and in the kernel's table."""
    first = first_process(chapter.begin([], ["sleep", "1000"]), "sleep")
    (root, _), proc, dev = mounts_of(first)
    assert (root, proc, dev) == ("/", ("/proc", "proc"), ("/dev", "tmpfs"))
    shown = [line.split() for line in chapter.run([], ["mount"]).lines]
    assert [(line[2], line[4]) for line in shown[1:]] == [("/proc", "proc"), ("/dev", "tmpfs")]
    assert shown[0][2] == "/"


@holds("4.3")
def test_later_chapters_mount_only_below_proc_and_dev(chapter: Chapter) -> None:
    """D7 later: the same three mounts; whatever else is there lies below /dev or /proc. Nothing of the host's is left."""
    first = first_process(chapter.begin([], ["sleep", "1000"]), "sleep")
    found = mounts_of(first)
    assert next(place for place, _ in found) == "/"
    assert ("/proc", "proc") in found and ("/dev", "tmpfs") in found
    assert [place for place, _ in found[1:] if not place.startswith(("/proc", "/dev"))] == []


@holds("4.1")
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


@pytest.mark.parametrize("chapter", ["4.1", "4.2", "5.8"], indirect=True)
def test_dev_has_the_devices_that_programs_need(chapter: Chapter) -> None:
    """D7: /dev is a tmpfs that holds null, zero, random … as device nodes; writing to null makes no file."""
    done = chapter.run([], ["sh", "-c", "echo lost >/dev/null; head -c 3 /dev/zero | od -An -tx1; ls -l /dev/null"])
    zeros, null = done.lines
    assert zeros.split() == ["00", "00", "00"]
    assert null.startswith("crw-rw-rw-")
    first = first_process(chapter.begin([], ["sleep", "1000"]), "sleep")
    for name, numbers in (("null", (1, 3)), ("zero", (1, 5)), ("urandom", (1, 9))):
        node = os.stat(f"/proc/{first}/root/dev/{name}")
        assert stat.S_ISCHR(node.st_mode) and (os.major(node.st_rdev), os.minor(node.st_rdev)) == numbers


@holds("4.1", until="4.2")
def test_what_the_container_writes_lands_in_the_image(chapter: Chapter) -> None:
    """D8: in 4.1 the image is the root itself: a file that the container makes is in the image directory, after it too."""
    name, content = fresh(), fresh()
    before = tree(chapter.root / "busybox") if (chapter.root / "busybox").exists() else set()
    assert f"tmp/{name}" not in before
    assert chapter.run([], ["sh", "-c", f"echo {content} >/tmp/{name}; rm /etc/group"]).code == 0
    assert (chapter.root / "busybox" / "tmp" / name).read_text() == f"{content}\n"
    assert not (chapter.root / "busybox" / "etc" / "group").exists()
    assert chapter.run([], ["cat", f"/tmp/{name}"]).out == f"{content}\n", "the next container finds it"


@holds("4.2")
def test_from_4_2_on_the_image_stays_as_it_was(chapter: Chapter) -> None:
    """D8 holds until 4.2: then nothing that a container does is seen in the image, nor by the next container."""
    name = fresh()
    before = tree(chapter.root / "busybox")
    done = chapter.run([], ["sh", "-c", f"echo >/tmp/{name}; rm /etc/group; ls /tmp /etc"])
    assert name in done.out and "group" not in done.out
    assert tree(chapter.root / "busybox") == before
    assert name not in chapter.run([], ["ls", "/tmp"]).out
    assert "group" in chapter.run([], ["ls", "/etc"]).out


@holds("4.1", until="4.3")
def test_a_missing_busybox_image_is_made(chapter: Chapter, tmp_path: Path) -> None:
    """Without `busybox.tar` in an empty root the program makes one, and it is one that GNU tar reads."""
    chapter.root = tmp_path / "empty" / "root"
    chapter.root.mkdir(parents=True)
    assert chapter.run([], ["true"]).code == 0
    assert visible(chapter.root) == {"busybox", "busybox.tar"}
    words = ["tar", "-tf", str(chapter.root / "busybox.tar"), "--exclude=*/*"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert sorted({name.strip("/") for name in listed} - {"."}) == ROOT_DIRECTORIES
