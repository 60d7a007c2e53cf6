"""Writes a tar, and nothing else: it imports next to nothing, so that `commit` starts at once.

What the headers look like is in `tarheaders.py`; here is which files go in, in which order, and how fast.
"""

import errno
import os
import sys

from stages.kernel.errors import Failure
from stages.kernel.tarheaders import (
    BLOCK,
    KINDS,
    S_IFBLK,
    S_IFCHR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    ZEROS,
    header,
    header_of,
    padded,
    sparse_header,
    xattr_records,
)

TYPE_CHECKING = False  # as in typing, which is dear to import; so is collections
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Bytes, a multiple of the block, so padding never overflows it.  Each time it is handed to the thread that writes costs some 50 µs.
_BUFFER = 1 << 20

_S_ISGID = 0o2000
_KEPT_OPEN = 200  # of the 1024 descriptors that a process usually may have
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a file that has become a fifo since it was listed must not hold us up.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# What open(2) says when a name is no longer what was listed: gone, not a directory, a symlink, a socket.
_CHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)

# Of files with several names: (device, inode) to the name that is in the archive already.
FirstNames = dict[tuple[int, int], bytes]
# What is in a directory: its name, is it a file, is it a directory.
Listed = tuple[bytes, bool, bool]

_ENCODING = sys.getfilesystemencoding()


def write_tree(directory: str, out: int) -> None:
    """Write everything below `directory` to the descriptor `out` as a tar that any tar reads.

    For: packing a container's merged view, volumes included, into an image.
    Names are relative (`bin/`, `bin/sh`) and sorted, so the same tree gives the same bytes; owners are
    numbers, times whole seconds.  Sockets are skipped, as tar does; `directory` itself has no entry.  No
    symlink is followed.  A file that shrinks meanwhile is padded with zeros, one that grows is cut at its
    announced size, and what vanishes between listing and opening is left out: the writers of a volume are
    not paused.  Raises OSError (ENOSPC and others) as the kernel gave it, and Failure if a directory more
    than 200 levels deep was moved meanwhile.
    """
    from stages.kernel.pipelined import PipelinedArchive

    with PipelinedArchive(out) as archive:
        add_tree(archive, directory, {})
        archive.finish()


def add_tree(
    archive: "Archive",
    directory: str,
    first_names: FirstNames,
    listing: "Callable[[bytes, int], Iterator[Listed]] | None" = None,
) -> None:
    """Add everything below `directory` to the archive, or of each directory what `listing(its path in there, descriptor)` says.

    With a `listing`, the directories may have been in the archive before.

    It keeps its own stack instead of recursing, and opens each directory from its parent's descriptor: so no
    tree is too deep, no path too long, and nobody can slip a symlink into the path while we walk.
    """
    were_there = listing is not None
    listing = listing or (lambda _, fd: list_directory(fd))
    opened = [os.open(directory, _DIRECTORY & ~os.O_NOFOLLOW)]  # from the top down; -1 is closed for now
    levels = [(b"", os.fstat(opened[0]), listing(b"", opened[0]))]
    try:
        while levels:
            prefix, above, names = levels[-1]
            here = opened[-1]
            for name, is_file, is_directory in names:
                try:
                    if is_file:
                        _add_file(archive, prefix + name, name, here, first_names)
                        continue
                    if not is_directory:
                        _add_special(archive, prefix + name, name, here, first_names)
                        continue
                    inner = os.open(name, _DIRECTORY, dir_fd=here)
                except OSError as error:
                    if error.errno in _CHANGED:
                        continue
                    raise
                opened.append(inner)
                _close_far_above(opened)
                path = prefix + name + b"/"
                status = _add_directory(archive, path, inner)
                if were_there and above.st_mode & ~status.st_mode & _S_ISGID:
                    # GNU tar has given the one above its mode already, the kernel hands the bit on, and for a directory that
                    # it has just made, GNU tar does not look.  When it meets it again it does.
                    _add_directory(archive, path, inner)
                levels.append((path, status, listing(path, inner)))
                break
            else:
                levels.pop()
                if levels and opened[-2] < 0:
                    opened[-2] = _reopen_parent(here, levels[-1][1], prefix)
                os.close(opened.pop())
    finally:
        for fd in opened:
            if fd >= 0:
                os.close(fd)


def size_of(directory: str, listing: "Callable[[bytes, int], Iterator[Listed]] | None" = None) -> int:
    """How many bytes `add_tree` would add to an archive."""
    counter = _Counter(-1)
    add_tree(counter, directory, {}, listing)
    return counter.total


def add_one(archive: "Archive", path: bytes, here: int, first_names: FirstNames) -> None:
    """Add the single entry `path`, whose directory is open as `here`."""
    name = path.rpartition(b"/")[2]
    file_type = os.stat(name, dir_fd=here, follow_symlinks=False).st_mode & S_IFMT
    if file_type == S_IFREG:
        _add_file(archive, path, name, here, first_names)
    elif file_type in KINDS and KINDS[file_type] == b"5":
        inner = os.open(name, _DIRECTORY, dir_fd=here)
        try:
            _add_directory(archive, path + b"/", inner)
        finally:
            os.close(inner)
    else:
        _add_special(archive, path, name, here, first_names)


def write_entries(entries: "Iterable[tuple[bytes, int, bytes]]", mtime: int, out: int) -> None:
    """Write a tar from memory to the descriptor `out`: all owners 0, all times `mtime` (seconds since 1970).

    For: an image that is made, not packed.  An entry is (name, mode, content): `mode` with its file type as
    in st_mode, `content` the bytes of a file or the target of a symlink.  A directory's name ends in a slash.
    Raises OSError.
    """
    archive = Archive(out)
    for name, mode, content in entries:
        kind = KINDS[mode & S_IFMT]
        if kind == b"2":
            archive.add(header(name, kind, mode, 0, 0, 0, mtime, content))
        else:
            archive.add(header(name, kind, mode, 0, 0, len(content), mtime))
            archive.add(padded(content))
    archive.finish()


class Archive:
    """The archive on its way out, through a buffer into which files are read straight.

    sendfile(2) was measured: for the files that images are made of it gains nothing.
    """

    def __init__(self, out: int, room: int = _BUFFER) -> None:
        self.out, self.room = out, room
        self.buffer = memoryview(bytearray(room))
        self.end = 0  # so much of the buffer is filled, a multiple of the block

    def begin(self, headers: bytes, size: int = 0) -> None:
        """Begin an entry: its headers; `size` bytes of content are going to follow."""
        self.add(headers)

    def add(self, blocks: bytes) -> None:
        """Append bytes, a multiple of the block."""
        left = memoryview(blocks)
        while left:
            if self.end == self.room:
                self.flush()
            part = left[: self.room - self.end]
            self.buffer[self.end : self.end + len(part)] = part
            self.end += len(part)
            left = left[len(part) :]

    def copy(self, source: int, size: int) -> None:
        """Append exactly `size` bytes of a file, padded to the block; zeros for what it no longer has."""
        left = size
        while left:
            if self.end == self.room:
                self.flush()
            got = os.readv(source, [self.buffer[self.end : self.end + left]])
            if not got:
                got = min(left, self.room - self.end)
                self.buffer[self.end : self.end + got] = bytes(got)
            self.end += got
            left -= got
        padding = -size % BLOCK
        self.buffer[self.end : self.end + padding] = ZEROS[:padding]
        self.end += padding

    def flush(self) -> None:
        """Hand on what is in the buffer."""
        write_all(self.out, self.buffer[: self.end])
        self.end = 0

    def finish(self) -> None:
        """Append the two blocks of zeros that end a tar."""
        self.add(ZEROS * 2)
        self.flush()


class _Counter(Archive):
    """Takes everything, and keeps only how much it was."""

    def __init__(self, out: int) -> None:
        super().__init__(out, 0)
        self.total = 0

    def begin(self, headers: bytes, size: int = 0) -> None:
        self.total += len(headers) + size + -size % BLOCK

    def copy(self, source: int, size: int) -> None:
        pass


def write_all(out: int, rest: "memoryview | bytes") -> None:
    """write(2), again when a pipe or a nearly full disk took only a part."""
    rest = memoryview(rest)
    while rest:
        rest = rest[os.write(out, rest) :]


def list_directory(fd: int) -> "Iterator[Listed]":
    """List a directory, sorted by the bytes of the name."""
    with os.scandir(fd) as entries:
        found = [
            (
                entry.name.encode(_ENCODING, "surrogateescape"),
                entry.is_file(follow_symlinks=False),
                entry.is_dir(follow_symlinks=False),
            )
            for entry in entries
        ]
    found.sort()
    return iter(found)


def _add_directory(archive: Archive, path: bytes, fd: int) -> os.stat_result:
    """Add the entry of a directory that is open as `fd`; its name ends in a slash."""
    status = os.fstat(fd)
    archive.begin(xattr_records(fd) + header_of(path, b"5", status))
    return status


def _add_file(archive: Archive, path: bytes, name: bytes, here: int, first_names: FirstNames) -> None:
    """Add one regular file.  It is opened first and looked at then: size and content are of one file."""
    fd = os.open(name, _FILE, dir_fd=here)
    try:
        status = os.fstat(fd)
        if status.st_mode & S_IFMT != S_IFREG:
            return
        if status.st_nlink > 1 and (first := _first_name(status, path, first_names)):
            archive.begin(header_of(path, b"1", status, link=first))
            return
        size = status.st_size
        # Fewer blocks on disk than its size takes: there may be holes in it.
        if status.st_blocks * 512 < size and (data := _data_in(fd, size)) != [(0, size)]:
            archive.begin(xattr_records(fd) + sparse_header(path, status, data), sum(length for _, length in data))
            for offset, length in data:
                os.lseek(fd, offset, os.SEEK_SET)
                archive.copy(fd, length)
            return
        archive.begin(xattr_records(fd) + header_of(path, b"0", status, size), size)
        if size:
            archive.copy(fd, size)
    finally:
        os.close(fd)


def _data_in(fd: int, size: int) -> list[tuple[int, int]]:
    """Where a file has data, as (offset, length), in whole blocks; between them are holes.  lseek(2)

    Afterwards the file's own offset is 0 again.
    """
    found = []
    end = 0
    try:
        while end < size:
            start = os.lseek(fd, end, os.SEEK_DATA)
            start -= start % BLOCK
            end = os.lseek(fd, start, os.SEEK_HOLE)
            end = min(end + -end % BLOCK, size)
            if start >= end:
                break  # it was cut meanwhile
            found.append((start, end - start))
    except OSError as error:
        if error.errno != errno.ENXIO:  # no data any more
            return [(0, size)]  # a file system that knows no holes
    os.lseek(fd, 0, os.SEEK_SET)
    return found


def _add_special(archive: Archive, path: bytes, name: bytes, here: int, first_names: FirstNames) -> None:
    """Add a symlink, a device or a fifo: what must not be opened to be read."""
    status = os.stat(name, dir_fd=here, follow_symlinks=False)
    file_type = status.st_mode & S_IFMT
    if file_type not in (S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO):
        return  # a socket
    if status.st_nlink > 1 and (first := _first_name(status, path, first_names)):
        archive.begin(header_of(path, b"1", status, link=first))
    elif file_type == S_IFLNK:
        archive.begin(header_of(path, b"2", status, link=os.readlink(name, dir_fd=here)))
    else:
        # The attribute calls know no directory descriptor: proc(5) lends it a path.
        records = xattr_records(b"/proc/self/fd/%d/%b" % (here, name))
        archive.begin(records + header_of(path, KINDS[file_type], status))


def _first_name(status: os.stat_result, path: bytes, first_names: FirstNames) -> bytes:
    """The name under which this file is in the archive already, or nothing: then `path` is it from now on."""
    first = first_names.setdefault((status.st_dev, status.st_ino), path)
    return b"" if first == path else first


def _close_far_above(opened: list[int]) -> None:
    """Keep only the last descriptors of a deep path open."""
    if len(opened) > _KEPT_OPEN and opened[-_KEPT_OPEN - 1] >= 0:
        os.close(opened[-_KEPT_OPEN - 1])
        opened[-_KEPT_OPEN - 1] = -1


def _reopen_parent(fd: int, expected: os.stat_result, path: bytes) -> int:
    """Open `..` of `fd`, and make sure that it is the directory we came from."""
    parent = os.open("..", _DIRECTORY, dir_fd=fd)
    if not os.path.samestat(os.fstat(parent), expected):
        os.close(parent)
        raise Failure(f"{os.fsdecode(path)!r} was moved while it was packed: let it be and try again")
    return parent
