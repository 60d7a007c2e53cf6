"""Unpacking: the same as GNU tar where that is right, and refusals where an archive is broken or hostile."""

import gzip
import io
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from stages.kernel import unpack as unpack_module
from stages.kernel.errors import Failure
from stages.kernel.unpack import unpack
from tests.kernel.test_tar import CAPABILITY, REPOSITORY, look, random_tree, without_trusted, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    for key, value in more.items():
        setattr(info, key, value)
    return info


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes] | tarfile.TarInfo) -> str:
    """Write a tar of exactly these members; the content of one that is given alone is its own name."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
        for entry in members:
            info, content = entry if isinstance(entry, tuple) else (entry, entry.name.encode())
            if info.type != tarfile.REGTYPE:
                content = b""
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return str(path)


def no_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


# --- what is in a good archive ----------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", ["ours", "gnu", "posix", "posix with ./"])
@pytest.mark.parametrize("seed", range(20, 23))
def test_a_random_tree_is_unpacked_as_it_was(tmp_path: Path, root: Path, maker: str, seed: int) -> None:
    top = tmp_path / "top"
    top.mkdir()
    random_tree(str(top), seed)
    if maker == "ours":
        write(top, tmp_path / "x.tar")
    else:
        style = ["--format=gnu"] if maker == "gnu" else ["--format=posix", "--xattrs", "--xattrs-include=*"]
        names = ["."] if "./" in maker else sorted(os.listdir(os.fsencode(top)))
        command: list[str | bytes | Path] = [
            "tar",
            "-C",
            top,
            "--numeric-owner",
            "--no-unquote",
            *style,
            "-cf",
            tmp_path / "x.tar",
            "--",
            *names,
        ]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    unpack(str(tmp_path / "x.tar"), str(root))
    expected, found = without_trusted(look(top)), look(root)
    if maker == "gnu":  # that format has no attributes
        expected = {path: (*e[:-2], {}, e[-1]) for path, e in expected.items()}
    assert len(expected) > 60
    assert found == expected


def test_a_sparse_file_is_unpacked_whole(tmp_path: Path, root: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    for style in ("gnu", "posix"):
        command: list[str | Path] = [
            "tar",
            "-C",
            tmp_path,
            "--sparse",
            f"--format={style}",
            "-cf",
            tmp_path / "x.tar",
            "sparse",
        ]
        subprocess.run(command, check=True)
        assert os.path.getsize(tmp_path / "x.tar") < 100_000
        (root / style).mkdir()
        unpack(str(tmp_path / "x.tar"), str(root / style))
        assert (root / style / "sparse").read_bytes() == bytes(1 << 20) + b"end"


@pytest.mark.parametrize("packer", [["gzip", "-c"], ["zstd", "-qc"]])
def test_how_it_is_packed_is_seen_from_the_first_bytes(tmp_path: Path, root: Path, packer: list[str]) -> None:
    plain = archive(tmp_path / "plain", member("bin/sh"), (member("big"), os.urandom(1 << 20)))
    with open(tmp_path / "x.tar", "wb") as out:
        subprocess.run([*packer, plain], stdout=out, check=True)
    unpack(str(tmp_path / "x.tar"), str(root))
    assert sorted(os.listdir(root)) == ["big", "bin"]
    assert no_children()


def test_without_zstd_it_says_what_to_install(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["zstd", "-q", archive(tmp_path / "x.tar", member("file"))], check=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(Failure, match="install the package zstd"):
        unpack(str(tmp_path / "x.tar.zst"), str(root))


def test_without_the_program_zstd_pythons_own_module_does(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the module, which came with Python 3.14; it unpacks gzip."""
    plain = archive(tmp_path / "plain", member("file"))
    (tmp_path / "x.tar").write_bytes(b"\x28\xb5\x2f\xfd" + gzip.compress(Path(plain).read_bytes()))

    def stand_in(file: io.BufferedReader, mode: str) -> gzip.GzipFile:
        file.seek(4)
        return gzip.open(file, "rb")

    module = type(sys)("compression")
    module.zstd = type(sys)("zstd")  # type: ignore[attr-defined]
    module.zstd.open = stand_in
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "compression", module)
    unpack(str(tmp_path / "x.tar"), str(root))
    assert os.listdir(root) == ["file"]


def test_times_are_kept_to_the_nanosecond_where_the_archive_has_them(tmp_path: Path, root: Path) -> None:
    times = (1_700_000_000_999_999_999, -5_000_000_001, -500_000_000, 3)
    for nanoseconds in times:
        (tmp_path / str(nanoseconds)).touch()
        os.utime(tmp_path / str(nanoseconds), ns=(0, nanoseconds))
    command: list[str | Path] = [
        "tar",
        "-C",
        tmp_path,
        "--format=posix",
        "-cf",
        tmp_path / "x.tar",
        "--",
        *map(str, times),
    ]
    subprocess.run(command, check=True)
    unpack(str(tmp_path / "x.tar"), str(root))
    assert {int(name): (root / name).stat().st_mtime_ns for name in os.listdir(root)} == {t: t for t in times}


def test_the_entry_of_the_root_itself_sets_its_mode(tmp_path: Path, root: Path) -> None:
    unpack(
        archive(tmp_path / "x.tar", member("./", tarfile.DIRTYPE, mode=0o711, mtime=5), member("./file")),
        str(root),
    )
    assert (stat.S_IMODE(root.stat().st_mode), root.stat().st_mtime) == (0o711, 5)


def test_directories_that_have_no_member_are_made(tmp_path: Path, root: Path) -> None:
    deep = "/".join(["d"] * 1200)
    unpack(archive(tmp_path / "x.tar", member("a/b/c"), member(f"{deep}/file")), str(root))
    assert (root / "a/b/c").read_text() == "a/b/c"
    assert stat.S_IMODE((root / "a/b").stat().st_mode) == 0o755
    assert (root / deep / "file").exists()
    subprocess.run(["rm", "-rf", root], check=True)  # pytest's own removal recurses


def test_hard_links_with_a_leading_dot_are_ordinary(tmp_path: Path, root: Path) -> None:
    path = archive(tmp_path / "x.tar", member("./a"), member("./d/b", tarfile.LNKTYPE, "./a"))
    unpack(path, str(root))
    assert (root / "a").stat().st_nlink == 2


def test_attributes_that_belong_to_the_machine_are_not_set(tmp_path: Path, root: Path) -> None:
    headers = {"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.a%3Db%25": "v"}
    unpack(archive(tmp_path / "x.tar", member("d", tarfile.DIRTYPE, pax_headers=headers)), str(root))
    assert os.listxattr(root / "d") == ["user.a=b%"]


def test_setuid_and_capabilities_survive_the_change_of_the_owner(tmp_path: Path, root: Path) -> None:
    headers = {"SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape")}
    info = member("ping", uid=1000, gid=1000, mode=0o6755, pax_headers=headers)
    unpack(archive(tmp_path / "x.tar", info), str(root))
    assert stat.S_IMODE((root / "ping").stat().st_mode) == 0o6755
    assert os.getxattr(root / "ping", "security.capability") == CAPABILITY


# --- names twice ------------------------------------------------------------------------------------------------


def test_the_last_of_several_members_of_one_name_wins(tmp_path: Path, root: Path) -> None:
    path = archive(
        tmp_path / "x.tar",
        *((member("file"), b"first"), (member("file"), b"second")),
        *(member("link", tarfile.SYMTYPE, "file"), (member("link"), b"no link any more")),
        *(member("tree", tarfile.DIRTYPE), member("tree/inner/file"), (member("tree"), b"no tree any more")),
        *(
            member("real", tarfile.DIRTYPE),
            member("later", tarfile.SYMTYPE, "real"),
            member("later", tarfile.DIRTYPE),
        ),
        *(member("one"), member("two", tarfile.LNKTYPE, "one"), (member("two"), b"its own")),
        *(member("three"), member("three", tarfile.LNKTYPE, "one")),
    )
    unpack(path, str(root))
    assert (root / "file").read_text() == "second"
    assert not (root / "link").is_symlink() and (root / "link").read_text() == "no link any more"
    assert (root / "tree").read_text() == "no tree any more"
    assert not (root / "later").is_symlink() and (root / "later").is_dir()
    assert (root / "three").read_text() == "one"
    assert (root / "one").read_text() == "one"
    assert (root / "two").read_text() == "its own"


def test_the_mode_of_a_directory_goes_to_no_other_that_took_its_name(tmp_path: Path, root: Path) -> None:
    path = archive(
        tmp_path / "x.tar",
        member("real", tarfile.DIRTYPE, mode=0o755),
        member("d", tarfile.DIRTYPE, mode=0o700),
        member("d", tarfile.SYMTYPE, "real"),
        member("real/below", tarfile.DIRTYPE, mode=0o755),
        member("up", tarfile.DIRTYPE, mode=0o755),
        member("up/below", tarfile.DIRTYPE, mode=0o700),
        member("up", tarfile.SYMTYPE, "real"),
    )
    unpack(path, str(root))
    assert stat.S_IMODE((root / "real").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "real" / "below").stat().st_mode) == 0o755


# --- names that lead out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hostile",
    [
        member("/etc/x"),
        member("../x"),
        member("a/../../x"),
        member("a/.."),
        member("/d", tarfile.DIRTYPE),
        member("../d", tarfile.DIRTYPE),
        member("/l", tarfile.SYMTYPE, "x"),
        member("good-name", tarfile.LNKTYPE, "../../etc/passwd"),
        member("good-name", tarfile.LNKTYPE, "/etc/passwd"),
        member("good-name", tarfile.LNKTYPE, "./../x"),
        member("good-name", tarfile.LNKTYPE, "missing"),
        member(".", tarfile.SYMTYPE, "x"),
        member("strange", b"Q"),
    ],
    ids=lambda m: f"{m.name}-{m.type.decode()}-{m.linkname}",
)
def test_a_hostile_member_is_refused_by_name(tmp_path: Path, root: Path, hostile: tarfile.TarInfo) -> None:
    path = archive(tmp_path / "x.tar", member("first"), hostile)
    with pytest.raises(Failure, match="is refused: its member ") as caught:
        unpack(path, str(root))
    assert repr(hostile.name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["root", "x.tar"]


def test_an_absolute_symlink_stays_as_it_is_and_writing_through_it_lands_inside(tmp_path: Path, root: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    path = archive(
        tmp_path / "x.tar",
        *(
            member(str(outside)[1:], tarfile.DIRTYPE),
            member("out", tarfile.SYMTYPE, str(outside)),
            member("out/file"),
        ),
        *(member("up", tarfile.SYMTYPE, "../../../../../.."), member("up/file")),
    )
    unpack(path, str(root))
    assert os.readlink(root / "out") == str(outside)
    assert os.listdir(outside) == []
    assert (Path(f"{root}{outside}") / "file").exists()
    assert (root / "file").exists()


def test_nothing_is_imported_from_the_image(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "x.tar", (member("evil/colorsys.py"), b"open('/witness', 'w')"))
    original = unpack_module._extract

    def extract_and_import(work: object) -> None:
        original(work)  # type: ignore[arg-type]
        import colorsys  # noqa: F401

    monkeypatch.setattr(unpack_module, "_extract", extract_and_import)
    monkeypatch.syspath_prepend("/evil")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with pytest.raises(Failure):
        unpack(path, str(root))
    assert os.listdir(root) == ["evil"]


# --- broken archives --------------------------------------------------------------------------------------------


def good(tmp_path: Path) -> str:
    dice = random.Random(3)
    sizes = (0, 512, 3000, 100)
    long = member("n" * 150, uid=3_000_000, pax_headers={"comment": "x"})
    return archive(tmp_path / "good.tar", *((member(f"f{n}"), dice.randbytes(n)) for n in sizes), (long, b"long"))


def end_of_content(path: str) -> int:
    with tarfile.open(path) as opened:
        last = opened.getmembers()[-1]
        return last.offset_data + 512


def test_an_archive_cut_anywhere_is_refused(tmp_path: Path, root: Path) -> None:
    content = Path(good(tmp_path)).read_bytes()
    end = end_of_content(str(tmp_path / "good.tar"))
    cuts = {n + d for n in range(512, end + 1, 512) for d in (-1, 0, 1, 100)} - {end + 1, end + 100} | {
        1,
        100,
    }
    assert len(cuts) > 40
    for cut in sorted(cuts):
        (tmp_path / "x.tar").write_bytes(content[:cut])
        with pytest.raises(Failure, match="copy it again"):
            unpack(str(tmp_path / "x.tar"), str(root))
        shutil.rmtree(root)
        root.mkdir()
    (tmp_path / "x.tar").write_bytes(content[: end + 1024])
    unpack(str(tmp_path / "x.tar"), str(root))


def test_an_archive_cut_exactly_between_two_members_is_cut_short(tmp_path: Path, root: Path) -> None:
    archive(tmp_path / "x.tar", member("one"), member("two"))
    os.truncate(tmp_path / "x.tar", 1024)
    with pytest.raises(Failure, match=r"^.*/x\.tar is cut short: copy it again$"):
        unpack(str(tmp_path / "x.tar"), str(root))


@pytest.mark.parametrize("packer", ["gzip", "zstd"])
def test_a_packed_archive_cut_anywhere_is_refused(tmp_path: Path, root: Path, packer: str) -> None:
    packed = subprocess.run([packer, "-c", good(tmp_path)], capture_output=True, check=True).stdout
    for cut in (*range(4, len(packed), len(packed) // 12), len(packed) - 8, len(packed) - 1):
        (tmp_path / "x.tar").write_bytes(packed[:cut])
        with pytest.raises(Failure, match="copy it again"):
            unpack(str(tmp_path / "x.tar"), str(root))
        shutil.rmtree(root)
        root.mkdir()
        assert no_children()


def test_the_checksum_of_gzip_is_read_even_long_after_the_end_of_the_tar(tmp_path: Path, root: Path) -> None:
    packed = bytearray(gzip.compress(Path(archive(tmp_path / "x.tar", member("file"))).read_bytes() + bytes(1 << 20)))
    packed[-6] ^= 1
    (tmp_path / "x.tar").write_bytes(packed)
    with pytest.raises(Failure, match="is damaged"):
        unpack(str(tmp_path / "x.tar"), str(root))


@pytest.mark.parametrize("packer", ["gzip", "zstd"])
def test_a_flipped_bit_in_a_packed_archive_is_noticed(tmp_path: Path, root: Path, packer: str) -> None:
    packed = bytearray(subprocess.run([packer, "-c", good(tmp_path)], capture_output=True, check=True).stdout)
    packed[len(packed) // 2] ^= 1
    (tmp_path / "x.tar").write_bytes(packed)
    with pytest.raises(Failure, match="copy it again"):
        unpack(str(tmp_path / "x.tar"), str(root))


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path, root: Path) -> None:
    content = bytearray(Path(archive(tmp_path / "x.tar", member("one"), member("two"))).read_bytes())
    content[1024 + 3] ^= 1
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(Failure, match=r"x\.tar is damaged: copy it again"):
        unpack(str(tmp_path / "x.tar"), str(root))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty: copy it again"),
        (gzip.compress(b"", mtime=0), "is no tar archive"),
        (b"hello\n", "is no tar archive"),
        (b"#!/bin/sh\n" * 1000, "is no tar archive"),
        (bytes(10240), "holds no files"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, root: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(Failure, match=says):
        unpack(str(tmp_path / "x.tar"), str(root))


def test_a_missing_archive_and_a_directory_are_refused(tmp_path: Path, root: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(Failure, match="can't be read"):
            unpack(str(path), str(root))


def test_an_archive_with_a_negative_size_does_not_loop(tmp_path: Path, root: Path) -> None:
    info = member("file", size=-1024)
    (tmp_path / "x.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    signal.alarm(20)
    try:
        with pytest.raises(Failure, match="is damaged"):
            unpack(str(tmp_path / "x.tar"), str(root))
    finally:
        signal.alarm(0)


# --- the machine ------------------------------------------------------------------------------------------------


def test_a_full_disk_is_said_in_one_sentence(tmp_path: Path, root: Path) -> None:
    path = archive(tmp_path / "x.tar", (member("big"), os.urandom(2 << 20)))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", root], check=True)
    try:
        (root / "image").mkdir()
        with pytest.raises(Failure) as caught:
            unpack(path, str(root / "image"))
    finally:
        subprocess.run(["umount", root], check=True)
    assert str(caught.value) == f"no space left on {root} while unpacking {path}: nothing was changed"


def test_a_file_system_without_attributes_does_without(tmp_path: Path, root: Path) -> None:
    headers = {"SCHILY.xattr.user.a": "v"}
    path = archive(tmp_path / "x.tar", member("file", pax_headers=headers))
    subprocess.run(["mount", "-t", "ramfs", "ramfs", root], check=True)
    try:
        unpack(path, str(root))
        assert (root / "file").read_text() == "file"
    finally:
        subprocess.run(["umount", root], check=True)


def test_a_killed_child_is_a_failure(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "x.tar", member("file"))
    monkeypatch.setattr(unpack_module, "_extract", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(Failure, match="was ended by signal 9"):
        unpack(path, str(root))


def test_ctrl_c_ends_the_child_and_propagates(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "x.tar", member("file"))
    subprocess.run(["zstd", "-q", path], check=True)
    before = sorted(os.listdir("/proc/self/fd"))

    def interrupt(*_: object) -> None:
        os.kill(os.getppid(), signal.SIGINT)
        signal.pause()

    monkeypatch.setattr(unpack_module, "_extract", interrupt)
    for each in (path, f"{path}.zst"):
        with pytest.raises(KeyboardInterrupt):
            unpack(each, str(root))
        assert no_children()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_the_child_runs_none_of_our_callers_endings(tmp_path: Path, root: Path) -> None:
    path = archive(tmp_path / "x.tar", member("../hostile"))
    program = """
import atexit, sys
from stages.kernel.unpack import unpack
atexit.register(lambda: print("atexit"))
print("begin")  # stays in the buffer of standard output, which the child has a copy of
try:
    unpack(*sys.argv[1:])
except BaseException as error:
    print(type(error).__name__)
finally:
    print("finally")
"""
    command = [sys.executable, "-c", program, path, str(root)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": REPOSITORY}
    )
    assert done.stdout.split() == ["begin", "Failure", "finally", "atexit"]
