"""Writes a tar, and nothing else: it imports next to nothing, so that `commit` starts at once.

The format is ustar, with GNU's extensions where ustar has no room (names over 100 bytes, numbers too big for
octal digits) and a pax record for each extended attribute.  GNU's form is taken for names because it holds
plain bytes, while a pax name has to be UTF-8, which a file name need not be.

Sources followed:
https://www.gnu.org/software/tar/manual/html_node/Standard.html "Basic Tar Format"
https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html "pax Header Block"
https://man.freebsd.org/cgi/man.cgi?query=tar&sektion=5 tar(5) of libarchive
"""

import errno
import os
import sys

from stages.kernel.errors import Failure

TYPE_CHECKING = False  # as in typing, which is dear to import; so is collections
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The file types of inode(7), spelled out: the module `stat` would be one more import.
_S_IFMT, _S_IFDIR, _S_IFREG, _S_IFLNK = 0o170000, 0o040000, 0o100000, 0o120000
_S_IFIFO, _S_IFCHR, _S_IFBLK = 0o010000, 0o020000, 0o060000
_KINDS = {_S_IFREG: b"0", _S_IFLNK: b"2", _S_IFCHR: b"3", _S_IFBLK: b"4", _S_IFDIR: b"5", _S_IFIFO: b"6"}

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_BUFFER = 256 << 10  # fits the processor's cache; a multiple of the block, so padding never overflows it
_USTAR = b"ustar\x0000" + bytes(64)  # magic, version, and no names of user and group: owners are numbers
_PREFIX = bytes(155 + 12)
_PLAIN_TAIL = bytes(100) + _USTAR + bytes(16) + _PREFIX  # what follows the kind of a file: no link, no device
_CONSTANT_SUM = sum(_USTAR) + 8 * 0x20  # the checksum counts its own eight bytes as blanks

_KEPT_OPEN = 200  # of the 1024 descriptors that a process usually may have
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a file that has become a fifo since it was listed must not hold us up.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# What open(2) says when a name is no longer what was listed: gone, not a directory, a symlink, a socket.
_CHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)

# Of files with several names: (device, inode) to the name that is in the archive already.
_FirstNames = dict[tuple[int, int], bytes]

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

    It keeps its own stack instead of recursing, and opens each directory from its parent's descriptor: so no
    tree is too deep, no path too long, and nobody can slip a symlink into the path while we walk.
    """
    archive = _Archive(out)
    first_names: _FirstNames = {}
    opened = [os.open(directory, _DIRECTORY & ~os.O_NOFOLLOW)]  # from the top down; -1 is closed for now
    levels = [(b"", _identity(opened[0]), _listing(opened[0]))]
    try:
        while levels:
            prefix, _, listing = levels[-1]
            here = opened[-1]
            for name, is_file, is_directory in listing:
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
                status = os.fstat(inner)
                path = prefix + name + b"/"
                archive.add(_xattr_records(inner) + _entry(path, b"5", status))
                levels.append((path, (status.st_dev, status.st_ino), _listing(inner)))
                break
            else:
                levels.pop()
                if levels and opened[-2] < 0:
                    opened[-2] = _reopen_parent(here, levels[-1][1], prefix)
                os.close(opened.pop())
        archive.finish()
    finally:
        for fd in opened:
            if fd >= 0:
                os.close(fd)


def write_entries(entries: "Iterable[tuple[bytes, int, bytes]]", mtime: int, out: int) -> None:
    """Write a tar from memory to the descriptor `out`: all owners 0, all times `mtime` (seconds since 1970).

    For: an image that is made, not packed.  An entry is (name, mode, content): `mode` with its file type as
    in st_mode, `content` the bytes of a file or the target of a symlink.  A directory's name ends in a slash.
    Raises OSError.
    """
    archive = _Archive(out)
    for name, mode, content in entries:
        kind = _KINDS[mode & _S_IFMT]
        if kind == b"2":
            archive.add(_header(name, kind, mode, 0, 0, 0, mtime, content))
        else:
            archive.add(_header(name, kind, mode, 0, 0, len(content), mtime))
            archive.add(_padded(content))
    archive.finish()


def is_kept(xattr: str) -> bool:
    """Say whether an image keeps the extended attribute `xattr` (its full name).

    Kept are the user's own, file capabilities and POSIX ACLs.  The others belong to this machine: labels of
    its security module, and `trusted.overlay.*`, with which an image could steer the union it is mounted in.
    See xattr(7).
    """
    return xattr.startswith("user.") or xattr in (
        "security.capability",
        "system.posix_acl_access",
        "system.posix_acl_default",
    )


class _Archive:
    """The archive on its way out, through one small buffer into which files are read straight.

    sendfile(2) was measured: for the files that images are made of it gains nothing.
    """

    def __init__(self, out: int) -> None:
        self.out = out
        self.buffer = memoryview(bytearray(_BUFFER))
        self.end = 0  # so much of the buffer is filled, a multiple of _BLOCK

    def add(self, blocks: bytes) -> None:
        """Append bytes, a multiple of the block."""
        end = self.end + len(blocks)
        if end > _BUFFER:
            self.flush()
            if len(blocks) > _BUFFER:
                _write_all(self.out, memoryview(blocks))
                return
            end = len(blocks)
        self.buffer[self.end : end] = blocks
        self.end = end

    def copy(self, source: int, size: int) -> None:
        """Append exactly `size` bytes of a file, padded to the block; zeros for what it no longer has."""
        left = size
        while left:
            if self.end == _BUFFER:
                self.flush()
            got = os.readv(source, [self.buffer[self.end : self.end + left]])
            if not got:
                got = min(left, _BUFFER - self.end)
                self.buffer[self.end : self.end + got] = bytes(got)
            self.end += got
            left -= got
        padding = -size % _BLOCK
        self.buffer[self.end : self.end + padding] = _ZEROS[:padding]
        self.end += padding

    def flush(self) -> None:
        _write_all(self.out, self.buffer[: self.end])
        self.end = 0

    def finish(self) -> None:
        """Append the two blocks of zeros that end a tar."""
        self.add(_ZEROS * 2)
        self.flush()


def _write_all(out: int, rest: memoryview) -> None:
    """write(2), again when a pipe or a nearly full disk took only a part."""
    while rest:
        rest = rest[os.write(out, rest) :]


def _listing(fd: int) -> "Iterator[tuple[bytes, bool, bool]]":
    """List a directory: (name, is a file, is a directory), sorted by the bytes of the name."""
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


def _add_file(archive: _Archive, path: bytes, name: bytes, here: int, first_names: _FirstNames) -> None:
    """Add one regular file.  It is opened first and looked at then: size and content are of one file."""
    fd = os.open(name, _FILE, dir_fd=here)
    try:
        status = os.fstat(fd)
        if status.st_mode & _S_IFMT != _S_IFREG:
            return
        if status.st_nlink > 1 and (first := _first_name(status, path, first_names)):
            archive.add(_entry(path, b"1", status, link=first))
            return
        size = status.st_size
        archive.add(_xattr_records(fd) + _entry(path, b"0", status, size))
        if size:
            archive.copy(fd, size)
    finally:
        os.close(fd)


def _add_special(archive: _Archive, path: bytes, name: bytes, here: int, first_names: _FirstNames) -> None:
    """Add a symlink, a device or a fifo: what must not be opened to be read."""
    status = os.stat(name, dir_fd=here, follow_symlinks=False)
    file_type = status.st_mode & _S_IFMT
    if file_type not in (_S_IFLNK, _S_IFCHR, _S_IFBLK, _S_IFIFO):
        return  # a socket
    if status.st_nlink > 1 and (first := _first_name(status, path, first_names)):
        archive.add(_entry(path, b"1", status, link=first))
    elif file_type == _S_IFLNK:
        archive.add(_entry(path, b"2", status, link=os.readlink(name, dir_fd=here)))
    else:
        # The attribute calls know no directory descriptor: proc(5) lends it a path.
        records = _xattr_records(b"/proc/self/fd/%d/%b" % (here, name))
        archive.add(records + _entry(path, _KINDS[file_type], status))


def _first_name(status: os.stat_result, path: bytes, first_names: _FirstNames) -> bytes:
    """The name under which this file is in the archive already, or nothing: then `path` is it from now on."""
    first = first_names.setdefault((status.st_dev, status.st_ino), path)
    return b"" if first is path else first


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _close_far_above(opened: list[int]) -> None:
    """Keep only the last descriptors of a deep path open."""
    if len(opened) > _KEPT_OPEN and opened[-_KEPT_OPEN - 1] >= 0:
        os.close(opened[-_KEPT_OPEN - 1])
        opened[-_KEPT_OPEN - 1] = -1


def _reopen_parent(fd: int, expected: tuple[int, int], path: bytes) -> int:
    """Open `..` of `fd`, and make sure that it is the directory we came from."""
    parent = os.open("..", _DIRECTORY, dir_fd=fd)
    if _identity(parent) != expected:
        os.close(parent)
        raise Failure(f"{os.fsdecode(path)!r} was moved while it was packed: let it be and try again")
    return parent


def _entry(path: bytes, kind: bytes, status: os.stat_result, size: int = 0, link: bytes = b"") -> bytes:
    """The header of what `status` describes."""
    device = b""
    if kind == b"3" or kind == b"4":
        device = b"%07o\0%07o\0" % (os.major(status.st_rdev), os.minor(status.st_rdev))
    mtime = status.st_mtime_ns // 10**9
    return _header(path, kind, status.st_mode, status.st_uid, status.st_gid, size, mtime, link, device)


def _header(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int,
    link: bytes = b"", device: bytes = b"",
) -> bytes:  # fmt: skip
    """One ustar header, 512 bytes, preceded by GNU's long name entries where a name has no room."""
    before = b""
    if len(link) > 100:
        before, link = _long(b"K", link), link[:100]
    if len(name) > 100:
        before, name = before + _long(b"L", name), name[:100]
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode & 0o7777, uid, gid, size, mtime)
    if len(numbers) != 48 or mtime < 0:
        wide = (_number(uid, 8), _number(gid, 8), _number(size, 12), _number(mtime, 12))
        numbers = b"%07o\0%b%b%b%b" % (mode & 0o7777, *wide)
    # Most of a header is zeros, which add nothing: summing only the rest takes a tenth of the time.
    checksum = _CONSTANT_SUM + sum(name) + sum(numbers) + kind[0]
    tail = _PLAIN_TAIL
    if link or device:
        checksum += sum(link) + sum(device)
        tail = link.ljust(100, b"\0") + _USTAR + device.ljust(16, b"\0") + _PREFIX
    return before + b"%b%b%06o\0 %b%b" % (name.ljust(100, b"\0"), numbers, checksum, kind, tail)


def _number(value: int, width: int) -> bytes:
    """A number in octal, or, if it has no room, in GNU's base 256: two's complement, first bit set."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return (value % (1 << 8 * width) | 0x80 << 8 * (width - 1)).to_bytes(width, "big")


def _padded(content: bytes) -> bytes:
    return content + _ZEROS[: -len(content) % _BLOCK]


def _long(kind: bytes, name: bytes) -> bytes:
    """GNU's entry for a name (L) or link target (K) over 100 bytes: the content of one before its own."""
    return _header(b"././@LongLink", kind, 0, 0, 0, len(name) + 1, 0) + _padded(name + b"\0")


def _xattr_records(file: int | bytes) -> bytes:
    """A pax header with the extended attributes of a file (descriptor or path); empty for most files."""
    try:
        # A descriptor's file is followed already; a path's must not be.
        names = os.listxattr(file) if isinstance(file, int) else os.listxattr(file, follow_symlinks=False)
    except OSError:
        return b""  # a file system without attributes, or a file that has vanished
    if not names:
        return b""
    records = b""
    for name in sorted(filter(is_kept, names)):
        try:
            value = os.getxattr(file, name, follow_symlinks=isinstance(file, int))
        except OSError:
            continue  # taken away meanwhile
        # GNU tar's own way of keeping "=" out of a keyword.
        keyword = os.fsencode(name.replace("%", "%25").replace("=", "%3D"))
        records += _record(b"SCHILY.xattr." + keyword, value)
    return records and _header(b"././@PaxHeader", b"x", 0o644, 0, 0, len(records), 0) + _padded(records)


def _record(keyword: bytes, value: bytes) -> bytes:
    """One pax record, `LENGTH keyword=value`, whose length counts its own digits."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))  # one digit more may have made the number longer
    return b"%d %b=%b\n" % (length, keyword, value)
