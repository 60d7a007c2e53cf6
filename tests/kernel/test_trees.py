"""Removing a tree removes that tree and nothing else: with real mounts, in a mount namespace of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stages.kernel import trees
from stages.kernel.errors import Failure
from stages.kernel.trees import remove_tree

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REMOVE = """
import sys
from stages.kernel.errors import Failure
from stages.kernel.trees import remove_tree
try:
    remove_tree(sys.argv[1])
except Failure as failure:
    print(failure, file=sys.stderr)
    sys.exit(failure.exit_code)
"""


def remove_among_mounts(mounts: str, place: Path, name: str) -> subprocess.CompletedProcess[str]:
    """In a new mount namespace: cd to `place`, run the shell commands `mounts`, then remove the tree `name`."""
    script = f'set -e; cd "$1"; {mounts}; exec "$2" -c "$3" "$1/{name}"'
    return subprocess.run(
        [
            "unshare",
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
            place,
            sys.executable,
            REMOVE,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": REPOSITORY},
    )


def test_a_tree_of_everything_is_removed(tmp_path: Path) -> None:
    top = os.fsencode(tmp_path / "top")
    for directory in (b"", b"/a", b"/a/b", b"/\xff\xfe", b"/\xff\xfe/ \n"):
        os.mkdir(top + directory)
        for number in range(300):
            Path(os.fsdecode(top + directory + b"/file-\xfc%d" % number)).touch()
        os.mkfifo(top + directory + b"/fifo")
        os.mknod(top + directory + b"/whiteout", 0o020000, 0)
    os.chmod(top + b"/a/b", 0)
    remove_tree(str(tmp_path / "top"))
    assert os.listdir(tmp_path) == []


def test_a_missing_path_is_no_error(tmp_path: Path) -> None:
    remove_tree(str(tmp_path / "missing"))
    remove_tree(str(tmp_path / "missing" / "deeper"))


def test_a_slash_at_the_end_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "top" / "inner").mkdir(parents=True)
    remove_tree(f"{tmp_path}/top/")
    assert not (tmp_path / "top").exists()


@pytest.mark.parametrize("path", ["/", "", ".", "..", "x/.."])
def test_a_path_without_a_name_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trees, "_remove_all_but_directories", lambda fd: pytest.fail("something was removed"))
    with pytest.raises(Failure, match="give the full path"):
        remove_tree(path)


def test_no_symlink_is_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "precious")
    remove_tree(str(tmp_path / "top"))
    assert not (tmp_path / "top").exists()
    assert (tmp_path / "precious" / "file").exists()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_path_that_is_no_directory_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "link").symlink_to("precious")
    (tmp_path / "file").touch()
    with pytest.raises(Failure, match="is no directory"):
        remove_tree(str(tmp_path / kind))
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "precious"]
    assert (tmp_path / "precious" / "file").exists()


def test_a_directory_that_becomes_a_symlink_meanwhile_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "top" / "inner").mkdir(parents=True)
    original = trees._remove_all_but_directories

    def swap(fd: int) -> list[str]:
        found = original(fd)
        (tmp_path / "top" / "inner").rmdir()
        (tmp_path / "top" / "inner").symlink_to(tmp_path / "precious")
        return found

    monkeypatch.setattr(trees, "_remove_all_but_directories", swap)
    with pytest.raises(Failure, match="top/inner is no directory"):
        remove_tree(str(tmp_path / "top"))
    assert (tmp_path / "precious" / "file").exists()


def test_a_directory_that_is_moved_out_meanwhile_does_not_take_us_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere" / "inner").mkdir(parents=True)
    (tmp_path / "top" / "middle" / "inner").mkdir(parents=True)
    original, calls = trees._remove_all_but_directories, []

    def move(fd: int) -> list[str]:
        calls.append(fd)
        if len(calls) == 3:
            (tmp_path / "elsewhere" / "inner").rmdir()
            (tmp_path / "top" / "middle" / "inner").rename(tmp_path / "elsewhere" / "inner")
        return original(fd)

    monkeypatch.setattr(trees, "_remove_all_but_directories", move)
    with pytest.raises(Failure, match="was moved meanwhile"):
        remove_tree(str(tmp_path / "top"))
    assert (tmp_path / "elsewhere" / "inner").exists()


def test_what_somebody_else_removes_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "top" / "a").mkdir(parents=True)
    (tmp_path / "top" / "b").mkdir()
    original = trees._remove_all_but_directories

    def race(fd: int) -> list[str]:
        found = original(fd)
        if found:
            (tmp_path / "top" / "a").rmdir()
        return found

    monkeypatch.setattr(trees, "_remove_all_but_directories", race)
    remove_tree(str(tmp_path / "top"))
    assert not (tmp_path / "top").exists()


def test_a_directory_that_somebody_else_removes_while_we_are_in_it_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "top" / "inner").mkdir(parents=True)
    original = trees._remove_all_but_directories

    def race(fd: int) -> list[str]:
        found = original(fd)
        if not found:
            (tmp_path / "top" / "inner").rmdir()
        return found

    monkeypatch.setattr(trees, "_remove_all_but_directories", race)
    remove_tree(str(tmp_path / "top"))
    assert not (tmp_path / "top").exists()


def test_a_tree_deeper_than_the_recursion_and_path_limits_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(1300):
        os.mkdir("down", dir_fd=here)
        inner = os.open("down", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    before = len(os.listdir("/proc/self/fd"))
    remove_tree(str(top))
    assert not top.exists()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("mounts", "named"),
    [
        ("mount --bind precious top/deep/mnt", "top/deep/mnt is a mount"),
        ("mount --bind precious top", "top is a mount"),
        ("mount -t tmpfs tmpfs top/deep/mnt && touch top/deep/mnt/x", "top/deep/mnt is a mount"),
        ("mount --bind precious/file top/deep/file", "'file' in .*top/deep is a mount"),
    ],
)
def test_a_mount_stops_the_removal_and_what_is_mounted_stays(tmp_path: Path, mounts: str, named: str) -> None:
    (tmp_path / "precious" / "inner").mkdir(parents=True)
    (tmp_path / "precious" / "file").write_text("precious")
    (tmp_path / "top" / "deep" / "mnt").mkdir(parents=True)
    (tmp_path / "top" / "deep" / "file").touch()
    done = remove_among_mounts(mounts, tmp_path, "top")
    assert done.returncode == 125, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert re.search(named, done.stderr), done.stderr
    assert sorted(os.listdir(tmp_path / "precious")) == ["file", "inner"]
    assert (tmp_path / "precious" / "file").read_text() == "precious"


def test_an_unmounted_mount_point_is_removed_like_any_directory(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "top" / "mnt").mkdir(parents=True)
    done = remove_among_mounts("mount --bind precious top/mnt; umount top/mnt", tmp_path, "top")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "top").exists()
    assert (tmp_path / "precious" / "file").exists()
