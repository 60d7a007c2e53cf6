"""A gzip image made from another one: what the container did not touch is copied as it is compressed already.

The image that the container runs on is a gzip file of many members (see `gzipped.py`), and its index says which entries
each group of them holds (see `base_index.py`).  The container's layer says what it touched.  So of each group
1. nothing was touched: it is copied, without a look inside;
2. something was touched: what is left of it is written anew, in its place.
All that is in the layer, and in volumes, comes at the end, with the directories above it.

A directory that was touched is written in its old place too, as it is now.  GNU tar sets a directory's time when it has left
it, but makes absolute links at its very end; it remembers to set the time after that only when the directory came first.

The merged view, not the layer, is asked what a name is: so a whiteout is a name that is not there.  When anything is
unusual, everything is written anew, which is always right: see `Unfit`.
https://docs.kernel.org/filesystems/overlayfs.html
"""

import errno
import os
from _bisect import bisect_left
from _thread import allocate_lock

from stages.kernel import base_index, images, journal, log, mounts, syscalls, tar, threads
from stages.kernel.base_index import Group, Index
from stages.kernel.gzipped import GzipArchive
from stages.kernel.progress import Progress
from stages.kernel.tarheaders import S_IFDIR, S_IFMT, S_IFREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_AS_EXPECTED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.ENAMETOOLONG, errno.EXDEV)
_COPIED_AT_ONCE = 16 << 20  # bytes, about: so a progress bar moves, and Ctrl-C is heard
_OPAQUE, _POINTERS = "trusted.overlay.opaque", ("trusted.overlay.redirect", "trusted.overlay.metacopy")


class Unfit(Exception):
    """Why nothing can be copied."""


class Base:
    """The image below a container: its tarball, the directory that was unpacked from it, and the container's layer."""

    def __init__(self, home: str, hidden: str) -> None:
        """Read it from the container's journal in `home`.  Raises Unfit."""
        steps = {name: fields for name, fields, _ in journal.Done(home).steps}
        union, unpacked = steps.get("Union", {}), steps.get("UnpackImage", {})
        self.directory, self.layer = str(union.get("image")), str(union.get("write"))
        self.tarball = str(unpacked.get("tarball"))
        if union.get("driver") != "overlay" or unpacked.get("directory") != self.directory:
            raise Unfit("it is no overlay on an unpacked image")
        if not os.path.isfile(self.tarball) or not images.is_current(self.tarball, self.directory):
            raise Unfit("the image has changed since it was unpacked")
        try:
            self.index = Index(images.index_of(self.directory, hidden), images.raw_stamp_of(self.directory))
        except ValueError as error:
            raise Unfit(str(error)) from None


class Changes:
    """What a layer and the mounts in it changed of an image.

    `listed` are the directories that are at least partly new: of each the names that are to be written, and what they are.
    `touched` are the names that no longer are as the image has them, `trees` those below which nothing is.
    """

    def __init__(self, layer: str, mount_point: str) -> None:
        """Look.  Raises Unfit."""
        self.layer, self.mount_point = os.fsencode(layer), os.fsencode(mount_point)
        self.listed: dict[bytes, dict[bytes, tar.Listed]] = {b"": {}}
        self.touched: set[bytes] = {b"."}  # the root itself is in no image of ours
        self.trees: list[bytes] = []
        targets = sorted(os.fsencode(mount.target) for mount in mounts.below(mount_point))
        self.mounted = {target[len(self.mount_point) + 1 :] for target in targets}
        to_do = [b""]
        try:
            while to_do:
                to_do += self._look_into(to_do.pop())
            for path in sorted(self.mounted):
                if not any(path.startswith(other + b"/") for other in self.mounted):
                    self._add_mount(path)
        except OSError as error:  # a path that is too long, say
            raise Unfit(f"the layer can't be looked at: {error.strerror}") from None

    def _look_into(self, prefix: bytes) -> list[bytes]:
        """Look at the layer's directory `prefix` (empty or with a slash at its end); which others are in it."""
        inner = []
        with os.scandir(self.layer + b"/" + prefix) as entries:
            found = list(entries)
        for entry in found:
            path = prefix + entry.name
            if path in self.mounted:
                continue
            marks = os.listxattr(entry.path, follow_symlinks=False)
            if any(pointer in marks for pointer in _POINTERS):
                raise Unfit("the layer points into the image")
            self.touched.add(path)
            listed = self._list(prefix, entry.name)
            if listed and listed[2]:
                self.listed[path + b"/"] = {}
                inner.append(path + b"/")
                if _OPAQUE not in marks or os.getxattr(entry.path, _OPAQUE) != b"y":
                    continue
            self.trees.append(path)
        return inner

    def _list(self, prefix: bytes, name: bytes) -> tar.Listed | None:
        """Note what the merged view has under this name, if it has anything."""
        try:
            mode = os.lstat(self.mount_point + b"/" + prefix + name).st_mode & S_IFMT
        except FileNotFoundError:
            return None  # it was deleted
        self.listed[prefix][name] = listed = (name, mode == S_IFREG, mode == S_IFDIR)
        return listed

    def _add_mount(self, path: bytes) -> None:
        """Note what is mounted there, and the directories above it: they are as they were, and stand once more before it."""
        prefix = b""
        *above, last = path.split(b"/")
        for name in above:
            self._list(prefix, name)
            prefix += name + b"/"
            self.listed.setdefault(prefix, {})
        self._list(prefix, last)
        self.touched.add(path)
        self.trees.append(path)

    def has_directory(self, path: bytes) -> bool:
        """Is this one of the directories that are at least partly new?"""
        above, slash, name = path.rpartition(b"/")
        return self.listed.get(above + slash, {}).get(name, (b"", False, False))[2]

    def listing(self, prefix: bytes, fd: int) -> "Iterator[tar.Listed]":
        """What is to be written of a directory: of one that is partly new what is new, else everything."""
        if prefix in self.listed:
            return iter(sorted(self.listed[prefix].values()))
        return tar.list_directory(fd)


class Plan:
    """What becomes of each group of the image: `dropped` are the names that no longer stand in it, `to_write` the groups."""

    def __init__(self, index: Index, changes: Changes) -> None:
        self.first_names: tar.FirstNames = {}
        touched = {name for name in changes.touched if name in index.groups_of}
        if changes.trees:
            names = sorted(index.groups_of)
        for tree in changes.trees:
            # Of all names those that begin with the same bytes follow each other; "0" comes behind "/".
            touched.update(names[bisect_left(names, tree + b"/") : bisect_left(names, tree + b"0")])
        self.dropped = {name for name in touched if name not in index.directories or not changes.has_directory(name)}
        self.to_write = {id(group) for name in touched for group in index.groups_of[name]}
        # A hard link to a name that is gone has to become a file.
        for group in index.groups:
            if any(target in self.dropped for target in group.links.values()):
                self.to_write.add(id(group))


def write(mount_point: str, home: str, hidden: str, out: int) -> None:
    """Write the merged view at `mount_point` of the container whose journal is in `home`, as far as possible from its image.

    Raises Unfit, and then what was written to `out` is rubbish; and what `tar.write_tree` raises.
    """
    base = Base(home, hidden)
    changes = Changes(base.layer, mount_point)
    check = _Check(base, mount_point, changes)
    plan = Plan(base.index, changes)
    groups = base.index.groups
    log.note(f"({len(groups) - len(plan.to_write)} of {len(groups)} parts of {base.tarball} are copied as they are)")
    with GzipArchive(out) as archive, Progress("packing", lambda: archive.taken, lambda: _size(base, changes)):
        _write_groups(archive, base, plan, mount_point)
        tar.add_tree(archive, mount_point, plan.first_names, changes.listing)
        archive.finish()
    check.wait()


def _size(base: Base, changes: Changes) -> int:
    return os.stat(base.tarball).st_size + tar.size_of(os.fsdecode(changes.mount_point), changes.listing)


def _write_groups(archive: GzipArchive, base: Base, plan: Plan, mount_point: str) -> None:
    source = os.open(base.tarball, os.O_RDONLY | os.O_CLOEXEC)
    root = os.open(mount_point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        offset = size = 0  # of the members that are to be copied next: many at once, for each call has its price
        for group in base.index.groups:
            is_copied = id(group) not in plan.to_write
            if size and not (is_copied and size < _COPIED_AT_ONCE):
                archive.add_members(source, offset, size)
                size = 0
            if is_copied:
                offset, size = offset if size else group.offset, size + group.size
            else:
                _write_rest(archive, group, plan.dropped, root, plan.first_names)
        if size:
            archive.add_members(source, offset, size)
        archive.write_all()
        if images.identity(source) != images.stamp_of(base.directory):
            raise Unfit("the image was replaced meanwhile")
    finally:
        os.close(source)
        os.close(root)


def _write_rest(
    archive: GzipArchive, group: Group, dropped: set[bytes], root: int, first_names: tar.FirstNames
) -> None:
    """Write anew what is left of a group, in the same order."""
    resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_XDEV
    here, opened = -1, None
    archive.flush()
    try:
        for path in group.names:
            if path in dropped:
                continue
            parent, _, name = path.rpartition(b"/")
            if parent != opened:
                if here >= 0:
                    os.close(here)
                here = -1
                here = syscalls.openat2(root, parent or b".", os.O_RDONLY | os.O_DIRECTORY, resolve)
                opened = parent
            if (target := group.links.get(path)) and target not in dropped:
                status = os.stat(name, dir_fd=here, follow_symlinks=False)
                first_names.setdefault((status.st_dev, status.st_ino), target)
            tar.add_one(archive, path, here, first_names)
        archive.flush()
    except OSError as error:
        if error.errno in _NOT_AS_EXPECTED:
            raise Unfit(f"what was in the image is not there: {error.strerror}") from None
        raise
    finally:
        if here >= 0:
            os.close(here)


class _Check:
    """Finds out, in a second thread, whether the directory below the container still is what was unpacked.

    It is in plain sight, and people and the earlier chapters write into it.
    """

    def __init__(self, base: Base, mount_point: str, changes: Changes) -> None:
        self.base = base
        self.names = {name.partition(b"/")[0] for name in base.index.groups_of} - {b"."}
        self._see_that_it_is_below(mount_point, changes)
        self.why = "it could not be looked at"
        self.done = allocate_lock()
        self.done.acquire()
        threads.start(self._look)

    def wait(self) -> None:
        """Wait for the answer.  Raises Unfit."""
        self.done.acquire()
        if self.why:
            raise Unfit(self.why)

    def _see_that_it_is_below(self, mount_point: str, changes: Changes) -> None:
        """The image may have been unpacked anew, and the container still lie on the old copy.

        What is in the image and not in the layer has the same inode number in the merged view and in the directory below.
        """
        witnesses = self.names - changes.listed[b""].keys() - changes.touched
        if not witnesses:
            raise Unfit("nothing tells which copy of the image is below it")
        below, merged = os.fsencode(self.base.directory), os.fsencode(mount_point)
        for name in witnesses:
            if os.lstat(below + b"/" + name).st_ino != os.lstat(merged + b"/" + name).st_ino:
                raise Unfit("it lies on an older copy of the image")

    def _look(self) -> None:
        try:
            directory = os.fsencode(self.base.directory)
            changed = set(os.listdir(directory)) != self.names or base_index.changed_since(
                self.base.directory, self.base.index.ended
            )
            self.why = "somebody has changed the unpacked image" if changed else ""
        except OSError:
            pass
        finally:
            self.done.release()
