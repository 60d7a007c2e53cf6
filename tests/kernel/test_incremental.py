"""Images made from images: whatever a container did, what comes out of the tar is what was seen in the container.

Each round is a random image, a random layer, random volumes.  `ZOCKER_ROUNDS=1000 pytest tests/kernel/test_incremental.py`
makes more of them than a run of all tests has time for, and `ZOCKER_SEED` other ones.
"""

import errno
import gzip
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise, zip_longest
from pathlib import Path

import pytest

from stages.kernel import gunzip, gzipped, images, incremental, isal, tar
from stages.kernel.gunzip import Damaged, Gunzip
from stages.kernel.incremental import Unfit
from stages.kernel.unpack import unpack
from tests.kernel.layers import Container, change, memory
from tests.kernel.test_tar import look, random_tree, without_trusted

ROUNDS = int(os.environ.get("ZOCKER_ROUNDS", "10"))
SEED = int(os.environ.get("ZOCKER_SEED", "0"))
GENERATIONS = 3


def seen(top: Path) -> dict[bytes, tuple[object, ...]]:
    """All that is below `top`, and where the holes of its files are."""
    found = without_trusted(look(top))
    for path, entry in found.items():
        if isinstance(entry[4], bytes) and entry[0].startswith("0o100"):  # type: ignore[attr-defined]
            fd = os.open(os.path.join(os.fsencode(top), path), os.O_RDONLY)
            found[path] = (*entry, tar._data_in(fd, len(entry[4])))
            os.close(fd)
    return found


def extracted(archive: Path, directory: Path) -> dict[bytes, tuple[object, ...]]:
    """What GNU tar makes of it."""
    directory.mkdir()
    command = ["tar", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp", "-C", directory, "-xf", archive]
    done = subprocess.run(command, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    return seen(directory)


def difference(one: dict[bytes, tuple[object, ...]], other: dict[bytes, tuple[object, ...]]) -> list[object]:
    """What differs, short enough to be read: of each path the fields in which the two are not the same."""
    found: list[object] = []
    for path in sorted({*one, *other}):
        pairs = zip_longest(one.get(path, ()), other.get(path, ()))
        if fields := [(str(a)[-100:], str(b)[-100:]) for a, b in pairs if a != b]:
            found.append((path[-40:], fields))
    return found


def packed(view: Path, archive: Path, gzip: bool, same: bool = False) -> None:
    """Written anew, as a whole."""
    out = os.open(archive, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        if not gzip:
            return tar.write_tree(str(view), out)
        with gzipped.GzipArchive(out, same) as made:
            tar.add_tree(made, str(view), {})
            made.finish()
    finally:
        os.close(out)


def committed(container: Container, archive: Path) -> None:
    """Written from the container's image."""
    out = os.open(archive, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        incremental.write(str(container.view), str(container.home), str(container.hidden), out)
    finally:
        os.close(out)


def with_volumes(container: Container, root: Path, dice: random.Random) -> None:
    """Directories of the host, in places that the image has and in new ones, one of them in another one."""
    for number in range(dice.randrange(3)):
        source = root / f"from-{container.name}-{number}"
        source.mkdir()
        random_tree(str(source), dice.randrange(10**6), 8)
        (source / "inner").mkdir(exist_ok=True)
        places = [p for p in sorted(container.view.glob("*")) if p.is_dir() and not p.is_symlink()] or [container.view]
        target = dice.choice(places) / dice.choice(("to", "a/b/to", "."))
        target.mkdir(parents=True, exist_ok=True)
        if target != container.view:
            container.volume(source, str(target.relative_to(container.view)))
            if dice.random() < 0.3:
                other = root / f"from-{container.name}-{number}-inner"
                other.mkdir()
                random_tree(str(other), dice.randrange(10**6), 3)
                container.volume(other, f"{target.relative_to(container.view)}/inner")


@pytest.fixture(autouse=True)
def threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no image's root around these, whose libraries a thread's end could load."""
    monkeypatch.setattr(gunzip, "never_end", lambda: None)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gzip members so small that also a small image has many, of which a few are copied at once."""
    monkeypatch.setattr(gzipped, "MEMBER", 16 << 10)
    monkeypatch.setattr(incremental, "_COPIED_AT_ONCE", 40 << 10)


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_gnu_tar_makes_of_it_what_the_container_saw(tmp_path: Path, small: None, seed: int) -> None:
    """Uncompressed, gzip, from an image, and from an image that was made from an image that was."""
    dice = random.Random(seed)
    with memory(tmp_path / "root") as root:
        top = root / "top"
        top.mkdir()
        (top / "witness").mkdir()
        random_tree(str(top), seed, 60)
        change(top, dice, 6)
        packed(top, root / "image0.tar", gzip=True)
        for generation in range(GENERATIONS):
            container = Container(root, root / f"image{generation}.tar", f"bird{generation}")
            try:
                with_volumes(container, root, dice)
                change(container.view, dice, dice.choice((0, 1, 5, 20)))
                container.age()
                expected = seen(container.view)
                packed(container.view, root / "plain.tar", gzip=False)
                packed(container.view, root / "full.tar", gzip=True)
                made = root / f"image{generation + 1}.tar"
                try:
                    committed(container, made)
                except Unfit as why:
                    assert "which copy" in str(why)  # everything at the top was touched
                    packed(container.view, made, gzip=True)
                for archive in (root / "plain.tar", root / "full.tar", made):
                    assert difference(extracted(archive, root / "back"), expected) == [], archive
                    subprocess.run(["rm", "-rf", root / "back"], check=True)
                (root / "back").mkdir()
                unpack(str(made), str(root / "back"))
                assert difference(seen(root / "back"), expected) == []
                subprocess.run(["rm", "-rf", root / "back"], check=True)
                names = subprocess.run(["tar", "-tf", made], capture_output=True, check=True).stdout.split(b"\n")[:-1]
                files = [name for name in names if not name.endswith(b"/")]
                assert len(files) == len(set(files)) and len(set(names)) == len(expected)
            finally:
                container.end()


# --- what is copied, and when nothing is ---------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs with an image of ten directories, each a gzip member or more."""
    with memory(tmp_path / "root") as made:
        dice = random.Random(5)
        for number in range(10):
            directory = made / "top" / f"d{number}"
            directory.mkdir(parents=True)
            for name in "abc":
                (directory / name).write_bytes(dice.randbytes(6000))
        packed(made / "top", made / "image.tar", gzip=True)
        yield made


@pytest.fixture
def container(small: None, root: Path) -> Iterator[Container]:
    """A container on that image."""
    made = Container(root, root / "image.tar", "bird")
    yield made
    made.end()


def members(archive: Path) -> set[bytes]:
    """The gzip members of a file, as they are compressed."""
    content = archive.read_bytes()
    with archive.open("rb") as file:
        unpacker = Gunzip(file.fileno())
        for _ in unpacker.chunks():
            pass
    places = [place for _, place in unpacker.members] + [len(content)]
    return {content[start:end] for start, end in pairwise(places)}


def test_what_was_not_touched_is_copied_as_it_was_compressed(container: Container, root: Path) -> None:
    (container.view / "d3" / "b").write_text("changed")
    (container.view / "new").write_text("new")
    committed(container, root / "next.tar")
    before, after = members(root / "image.tar"), members(root / "next.tar")
    assert len(before) > 8
    assert len(before - after) in (1, 2), "all but the members of d3 are the same bytes"


def test_a_layer_that_holds_nothing_gives_the_same_file(container: Container, root: Path) -> None:
    committed(container, root / "next.tar")
    assert (root / "next.tar").read_bytes() == (root / "image.tar").read_bytes()


def _nothing(path: Path) -> None: ...


@pytest.mark.parametrize("made", [Path.mkdir, Path.touch, _nothing], ids=["a directory", "a file", "nothing"])
def test_of_a_directory_that_was_removed_nothing_comes_back(
    container: Container, root: Path, made: Callable[[Path], None]
) -> None:
    """Also when a new one has its name: overlay calls that opaque."""
    shutil.rmtree(container.view / "d3")
    made(container.view / "d3")
    container.age()
    expected = seen(container.view)
    committed(container, root / "next.tar")
    assert difference(extracted(root / "next.tar", root / "back"), expected) == []


def test_a_volume_is_packed_and_what_it_hides_is_not(container: Container, root: Path) -> None:
    """At a place that the image has, in a directory that the layer has not."""
    (root / "from" / "inner").mkdir(parents=True)
    (root / "from" / "inner" / "file").write_text("of the host")
    (container.view / "d2" / "deep").mkdir()
    container.volume(root / "from", "d2")
    expected = seen(container.view)
    committed(container, root / "next.tar")
    assert difference(extracted(root / "next.tar", root / "back"), expected) == []
    assert not (root / "back" / "d2" / "a").exists()


def test_of_a_hard_link_whose_first_name_is_gone_the_content_stays(small: None, tmp_path: Path) -> None:
    with memory(tmp_path / "root") as root:
        top = root / "top"
        for name in ("a", "b", "c", "witness"):
            (top / name).mkdir(parents=True)
        (top / "a" / "first").write_bytes(b"x" * 20_000)
        for name in ("b", "c"):
            os.link(top / "a" / "first", top / name / "other")
            (top / name / "z").write_bytes(os.urandom(15_000))
        packed(top, root / "image.tar", gzip=True)
        container = Container(root, root / "image.tar", "bird")
        try:
            (container.view / "a" / "first").unlink()
            expected = seen(container.view)
            committed(container, root / "next.tar")
            assert difference(extracted(root / "next.tar", root / "back"), expected) == []
            assert (root / "back" / "b" / "other").stat().st_nlink == 2
        finally:
            container.end()


@pytest.mark.parametrize("what", ["an absolute link", "setgid"])
def test_a_directory_into_which_something_came_is_as_it_is_seen_although_it_comes_late(
    small: None, tmp_path: Path, what: str
) -> None:
    """GNU tar makes absolute links at its very end, and takes the mode of a directory that it has made for granted."""
    with memory(tmp_path / "root") as root:
        (root / "top" / "d" / "inner").mkdir(parents=True)
        (root / "top" / "witness").mkdir()
        if what == "setgid":
            os.chmod(root / "top" / "d", 0o2755)
        else:
            (root / "top" / "d" / "link").symlink_to("/etc/passwd")
        packed(root / "top", root / "image.tar", gzip=True)
        container = Container(root, root / "image.tar", "bird")
        try:
            (container.view / "d" / "new").mkdir()
            os.chmod(container.view / "d" / "new", 0o755)
            container.age()
            expected = seen(container.view)
            committed(container, root / "next.tar")
            assert difference(extracted(root / "next.tar", root / "back"), expected) == []
        finally:
            container.end()


def unfit(container: Container) -> str:
    """Why nothing could be copied."""
    with pytest.raises(Unfit) as caught:
        committed(container, container.hidden / "rubbish")
    return str(caught.value)


def test_a_file_that_somebody_changed_in_the_unpacked_image_is_noticed(container: Container, root: Path) -> None:
    with open(root / "image" / "d4" / "c", "r+b") as file:
        file.write(b"by hand")
    assert "somebody has changed" in unfit(container)


@pytest.mark.parametrize("what", ["new", "d5/new", "d5/a"])
def test_a_file_that_somebody_made_or_removed_in_the_unpacked_image_is_noticed(
    container: Container, root: Path, what: str
) -> None:
    file = root / "image" / what
    file.unlink() if file.exists() else file.touch()
    assert "somebody has changed" in unfit(container)


def test_a_container_on_an_older_copy_of_the_image_is_noticed(container: Container, root: Path) -> None:
    """The same names and contents, unpacked again: only the inodes tell."""
    os.utime(root / "image.tar", (1, 1))
    images.ensure(str(root / "image.tar"), str(root / "image"), str(root / ".zocker"))
    assert images.is_current(str(root / "image.tar"), str(root / "image"))
    assert "older copy" in unfit(container)


def test_an_image_that_was_replaced_and_not_yet_unpacked_is_noticed(container: Container, root: Path) -> None:
    os.utime(root / "image.tar", (1, 1))
    assert "has changed since" in unfit(container)


def test_an_image_that_is_replaced_while_it_is_copied_is_noticed(
    container: Container, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = gzipped.copy

    def replace_and_copy(*arguments: int) -> None:
        os.utime(root / "image.tar", (1, 1))
        original(*arguments)

    monkeypatch.setattr(gzipped, "copy", replace_and_copy)
    assert "replaced meanwhile" in unfit(container)


@pytest.mark.parametrize("mark", ["trusted.overlay.redirect", "trusted.overlay.metacopy"])
def test_a_layer_that_points_into_the_image_is_noticed(container: Container, mark: str) -> None:
    """Our mounts don't make such layers; a kernel, or a person, could."""
    (container.view / "d1" / "a").write_text("changed")
    os.setxattr(container.layer / "d1", mark, b"/d2")
    assert "points into" in unfit(container)


def test_an_image_with_what_we_would_not_write_ourselves_is_no_base(small: None, tmp_path: Path) -> None:
    """Names of owners, twice the same file, a device that overlay takes for a whiteout: a part of it could mean something else."""
    with memory(tmp_path / "root") as root:
        (root / "top" / "d").mkdir(parents=True)
        (root / "top" / "file").write_bytes(os.urandom(40_000))
        archives = {
            "names": ["tar", "-C", root / "top", "--owner=daemon", "-cf", root / "names.tar", "d", "file"],
            "twice": ["tar", "-C", root / "top", "--numeric-owner", "-cf", root / "twice.tar", "d", "file", "file"],
        }
        for name, command in archives.items():
            subprocess.run(command, check=True)
            subprocess.run(["gzip", "-n", root / f"{name}.tar"], check=True)
            os.rename(root / f"{name}.tar.gz", root / f"{name}.tar")
        os.mknod(root / "top" / "d" / "whiteout", 0o20000, os.makedev(0, 0))
        packed(root / "top", root / "whiteout.tar", gzip=True)
        for name in ("names", "twice", "whiteout"):
            container = Container(root, root / f"{name}.tar", name)
            try:
                assert "the index" in unfit(container)
            finally:
                container.end()


# --- compressing ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["isal", "zlib"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which library compresses and inflates."""
    if request.param == "zlib":
        monkeypatch.setattr(isal, "is_there", lambda: False)
    elif not isal.is_there():
        pytest.skip("ISA-L is not installed here (Debian's package is libisal2)")
    return str(request.param)


@pytest.mark.parametrize(
    "reader", [["gzip", "-dc"], ["zstd", "-dcq"], ["busybox", "gunzip", "-c"], ["python3", "-m", "gzip", "-d"]]
)
def test_every_gunzip_reads_it(tmp_path: Path, by: str, reader: list[str]) -> None:
    (tmp_path / "top").mkdir()
    random_tree(str(tmp_path / "top"), 3, 300)
    packed(tmp_path / "top", tmp_path / "plain.tar", gzip=False)
    packed(tmp_path / "top", tmp_path / "full.tar", gzip=True)
    with open(tmp_path / "full.tar", "rb") as file:
        assert (
            subprocess.run(reader, stdin=file, capture_output=True, check=True).stdout
            == (tmp_path / "plain.tar").read_bytes()
        )


@pytest.mark.parametrize("packer", [["gzip", "-c"], ["gzip", "-1c", "-N"], ["pigz", "-c"]])
def test_it_reads_every_gzip(tmp_path: Path, by: str, packer: list[str]) -> None:
    if not shutil.which(packer[0]):
        pytest.skip(f"there is no {packer[0]} here")
    content = random.Random(1).randbytes(300_000) + bytes(3_000_000) + b"the end"
    (tmp_path / "content").write_bytes(content)
    parts = [subprocess.run([*packer, tmp_path / "content"], capture_output=True, check=True).stdout for _ in range(2)]
    (tmp_path / "packed").write_bytes(b"".join(parts) + bytes(700))  # two members, and gzip's padding
    with (tmp_path / "packed").open("rb") as file:
        unpacker = Gunzip(file.fileno())
        assert b"".join(bytes(part) for part in unpacker.chunks()) == content * 2
    assert unpacker.members == [(0, 0), (len(content), len(parts[0]))]


@pytest.mark.parametrize("how", ["cut", "flip", "append"])
def test_a_broken_gzip_never_passes_for_a_whole_one(tmp_path: Path, by: str, how: str) -> None:
    dice = random.Random(2)
    good = gzip.compress(dice.randbytes(3000) + b"words " * 9000)
    for _ in range(200):
        place = dice.randrange(10, len(good))
        bad = {"cut": good[:place], "append": good + b"x" * dice.randrange(1, 30)}.get(how)
        if bad is None:
            bad = good[:place] + bytes([good[place] ^ (1 << dice.randrange(8))]) + good[place + 1 :]
        (tmp_path / "bad").write_bytes(bad)
        fd = os.open(tmp_path / "bad", os.O_RDONLY)
        with pytest.raises((Damaged, EOFError)):
            for _ in Gunzip(fd).chunks():
                pass
        os.close(fd)


def test_reproducible_bytes_do_not_depend_on_threads_library_or_history(
    small: None, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(root / "top", root / "one.tar", gzip=True, same=True)
    monkeypatch.setattr(gzipped, "MOST_THREADS", 1)
    monkeypatch.setattr(isal, "is_there", lambda: False)
    subprocess.run(["cp", "-a", root / "top", root / "copy"], check=True)
    packed(root / "copy", root / "two.tar", gzip=True, same=True)
    assert (root / "one.tar").read_bytes() == (root / "two.tar").read_bytes()


def test_a_full_disk_is_told(tmp_path: Path, root: Path) -> None:
    with memory(tmp_path / "little", "64k") as little, pytest.raises(OSError) as caught:
        packed(root / "top", little / "x.tar", gzip=True)
    assert caught.value.errno == errno.ENOSPC
