"""Random images and layers: what a container may do to a root, and how the result is looked at."""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.kernel import images, layers, mounts, steps
from stages.kernel.journal import Journal
from tests.kernel.test_tar import random_tree


class Container:
    """A layer over an image, mounted as the runtime mounts it, with the journal that a run would have written."""

    def __init__(self, root: Path, tarball: Path, name: str) -> None:
        self.hidden, self.name = root / ".zocker", name
        self.tarball, self.directory = tarball, root / tarball.name.removesuffix(".tar")
        self.home = self.hidden / "containers" / name
        self.layer, self.work, self.view = (root / each / name for each in ("writeLayer", "work", "mnt"))
        for directory in (self.home, self.layer, self.work, self.view):
            directory.mkdir(parents=True)
        images.ensure(str(tarball), str(self.directory), str(self.hidden))
        journal = Journal(str(self.home))
        journal.intend(steps.UnpackImage(str(tarball), str(self.directory), str(self.hidden)))
        words = (str(self.view), str(self.layer), str(self.directory), str(self.work), "overlay")
        journal.intend(steps.Union(*words))
        journal.close()
        layers.mount("overlay", *words[:1], *words[1:4], False)

    def volume(self, source: Path, target: str) -> None:
        """Mount a directory or file of the host at `target`, which is there."""
        subprocess.run(["mount", "--bind", source, os.path.join(self.view, target)], check=True)

    def age(self) -> None:
        """Give the directories of the layer an old time: what is made in them too late is seen, however fast it is."""
        for path in everything(os.fsencode(self.layer)):
            seen = os.path.join(os.fsencode(self.view), os.path.relpath(path, os.fsencode(self.layer)))
            if os.path.isdir(seen) and not os.path.islink(seen) and not os.path.ismount(seen):
                os.utime(seen, ns=(0, (1_000_000_000 + len(path)) * 10**9))

    def end(self) -> None:
        """Take the mounts away, the last first: one may hide another."""
        for mount in reversed(mounts.table()):
            if f"{mount.target}/".startswith(f"{self.view}/"):
                subprocess.run(["umount", mount.target], check=True)


@contextmanager
def memory(directory: Path, size: str = "256m") -> Iterator[Path]:
    """A tmpfs: fast, and with extended attributes and holes."""
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-R", directory], check=True)


def everything(top: bytes) -> list[bytes]:
    """The paths of all that is below `top`, without what is mounted there."""
    found, to_do = [], [top]
    device = os.lstat(top).st_dev
    while to_do:
        here = to_do.pop()
        for name in sorted(os.listdir(here)):
            path = os.path.join(here, name)
            found.append(path)
            is_directory = os.path.isdir(path) and not os.path.islink(path)
            if is_directory and not os.path.ismount(path) and os.lstat(path).st_dev == device:
                to_do.append(path)
    return found


def change(view: Path, dice: random.Random, count: int) -> None:
    """Do to the files below `view` what a container may do."""
    for _ in range(count):
        paths = [path for path in everything(os.fsencode(view)) if not os.path.ismount(path)]
        if not paths:
            random_tree(str(view), dice.randrange(10**6), 10)
            continue
        path, other = dice.choice(paths), dice.choice(paths)
        try:
            dice.choice(DEEDS)(path, other, dice)
        except OSError:
            continue  # busy, into itself, no directory: a container would be told the same


def _write(path: bytes, other: bytes, dice: random.Random) -> None:
    with open(os.path.realpath(path) if os.path.isfile(path) else path, "r+b") as file:
        file.seek(dice.choice((0, 10, 5000)))
        file.write(dice.randbytes(dice.choice((1, 600, 9000))))


def _cut(path: bytes, other: bytes, dice: random.Random) -> None:
    if not os.path.islink(path):
        os.truncate(path, dice.choice((0, 100, 50_000)))


def _remove(path: bytes, other: bytes, dice: random.Random) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _make_anew(path: bytes, other: bytes, dice: random.Random) -> None:
    """What was there goes, and something else takes its name: of the same kind, or of another."""
    _remove(path, other, dice)
    kind = dice.randrange(5)
    if kind == 0:
        os.mkdir(path)
        random_tree(os.fsdecode(path), dice.randrange(10**6), 5)
    elif kind == 1:
        Path(os.fsdecode(path)).write_bytes(dice.randbytes(dice.choice((0, 700, 20_000))))
    elif kind == 2:
        os.symlink(b"/somewhere", path)
    elif kind == 3:
        os.mkfifo(path)
    else:
        os.mknod(path, 0o20600, os.makedev(1, dice.randrange(1, 9)))


def _make_beside(path: bytes, other: bytes, dice: random.Random) -> None:
    name = path + dice.choice((b"-new", b"\xff", b"x" * 130, b"0", b" "))
    if dice.random() < 0.5:
        os.mkdir(name)
        random_tree(os.fsdecode(name), dice.randrange(10**6), 5)
    else:
        Path(os.fsdecode(name)).write_bytes(dice.randbytes(dice.choice((0, 700, 20_000))))


def _rename(path: bytes, other: bytes, dice: random.Random) -> None:
    """mv: where overlay refuses to move a directory of the image, a program copies it."""
    target = other if dice.random() < 0.5 else path + b"-moved"
    try:
        os.rename(path, target)
    except OSError as error:
        if error.errno == 18 and not os.path.lexists(target):  # EXDEV
            shutil.move(os.fsdecode(path), os.fsdecode(target))


def _link(path: bytes, other: bytes, dice: random.Random) -> None:
    if os.path.isdir(path):
        return
    os.link(path, other + b"-link", follow_symlinks=False)


def _attributes(path: bytes, other: bytes, dice: random.Random) -> None:
    os.chown(path, dice.randrange(5), dice.randrange(5), follow_symlinks=False)
    if not os.path.islink(path):
        os.chmod(path, dice.choice((0o600, 0o1755, 0o4711)))
        if dice.random() < 0.5:
            os.setxattr(path, "user.new", b"value")
        for name in os.listxattr(path)[:1]:
            os.removexattr(path, name)
    os.utime(path, ns=(0, dice.randrange(2 * 10**9) * 10**9), follow_symlinks=False)


def _make_holes(path: bytes, other: bytes, dice: random.Random) -> None:
    with open(path + b"-sparse", "wb") as file:
        for part in range(dice.choice((0, 1, 3, 30))):
            file.seek(part * 40_000 + dice.choice((0, 4096)))
            file.write(dice.randbytes(dice.choice((10, 5000))))
        file.truncate(dice.choice((4096, 100_000, 2_000_000)))


DEEDS = [_write, _cut, _remove, _make_anew, _make_beside, _rename, _link, _attributes, _make_holes]
