"""The busybox image: what is in it, and that it is the same each time."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from stages.kernel import busybox
from stages.kernel.errors import Failure


def test_the_image_has_the_ten_directories_of_the_tutorial(tmp_path: Path) -> None:
    busybox.build(str(tmp_path / "busybox.tar"))
    with tarfile.open(tmp_path / "busybox.tar") as archive:
        top = {m.name: oct(m.mode) for m in archive if "/" not in m.name and m.isdir()}
        assert sorted(top) == ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var"]
        assert {name.split("/")[0] for name in archive.getnames()} == set(top)
        assert (top["tmp"], top["root"]) == ("0o1777", "0o700")
        assert {(m.uid, m.gid) for m in archive} == {(0, 0)}


def test_every_applet_runs_in_the_image_by_its_own_name(tmp_path: Path) -> None:
    busybox.build(str(tmp_path / "busybox.tar"))
    (tmp_path / "root").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "root", "-xpf", tmp_path / "busybox.tar"], check=True)
    applets = subprocess.run([busybox.find_static_busybox(), "--list"], capture_output=True, text=True, check=True)
    assert set(applets.stdout.split()) | {"busybox"} == set(os.listdir(tmp_path / "root" / "bin"))
    inside = subprocess.run(
        ["chroot", tmp_path / "root", "/bin/sh", "-c", "/bin/id; /bin/id -u nobody; /bin/ls -l /bin/sh"],
        capture_output=True,
        text=True,
        check=True,
    )
    root, nobody, link = inside.stdout.splitlines()
    assert root.startswith("uid=0(root) gid=0(root)")
    assert nobody == "65534"
    assert link.endswith("/bin/sh -> busybox")


def test_two_builds_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busybox.build(str(tmp_path / "one.tar"))
    monkeypatch.setattr("time.time", lambda: 0)
    (tmp_path / "elsewhere").mkdir()
    previous = os.umask(0o077)
    try:
        busybox.build(str(tmp_path / "elsewhere" / "two.tar"))
    finally:
        os.umask(previous)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "elsewhere" / "two.tar").read_bytes()


def test_nothing_else_is_left_beside_the_image(tmp_path: Path) -> None:
    busybox.build(str(tmp_path / "busybox.tar"))
    busybox.build(str(tmp_path / "busybox.tar"))
    assert os.listdir(tmp_path) == ["busybox.tar"]


def test_a_failed_build_leaves_the_old_image_as_it_was(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / "busybox.tar").write_text("old")
        with pytest.raises(Failure, match=r"busybox\.tar can't be made .* No space left on device"):
            busybox.build(str(tmp_path / "busybox.tar"))
        assert os.listdir(tmp_path) == ["busybox.tar"]
        assert (tmp_path / "busybox.tar").read_text() == "old"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_the_image_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = os.rename

    def rename(source: str, target: str) -> None:
        with tarfile.open(source) as archive:
            seen.append(("var" in archive.getnames(), os.path.exists(target)))
        original(source, target)

    monkeypatch.setattr(os, "rename", rename)
    busybox.build(str(tmp_path / "busybox.tar"))
    assert seen == [(True, False)]


def test_a_program_that_needs_libraries_is_not_static(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n" + "#" * 100)
    (tmp_path / "short").write_bytes(b"\x7fELF")
    assert busybox.is_static("/bin/busybox")
    assert not busybox.is_static("/bin/ls")
    assert not busybox.is_static(str(tmp_path / "script"))
    assert not busybox.is_static(str(tmp_path / "short"))


def test_without_a_static_busybox_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busybox, "is_static", lambda path: False)
    with pytest.raises(Failure, match="install the package busybox-static"):
        busybox.build(str(tmp_path / "busybox.tar"))
    assert os.listdir(tmp_path) == []
