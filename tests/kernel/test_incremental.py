"""Images made from images: whatever a container did, what comes out of the tar is what was seen in the container.

Each round is a random image, a random layer, random volumes.  `ZOCKER_ROUNDS=1000 pytest tests/kernel/test_incremental.py`
makes more of them than a run of all tests has time for, and `ZOCKER_SEED` other ones.
"""

import os
import random
import subprocess
from pathlib import Path

import pytest

from stages.kernel import gzipped, incremental, tar
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
    """What differs, short enough to be read."""
    paths = [path for path in sorted({*one, *other}) if one.get(path) != other.get(path)]
    return [(path, str(one.get(path))[:300], str(other.get(path))[:300]) for path in paths]


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


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gzip members so small that also a small image has many."""
    monkeypatch.setattr(gzipped, "MEMBER", 16 << 10)


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_gnu_tar_makes_of_it_what_the_container_saw(tmp_path: Path, small: None, seed: int) -> None:
    """Uncompressed, gzip, from an image, and from an image that was made from an image that was."""
    dice = random.Random(seed)
    copied = 0
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
                    copied += 1
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
