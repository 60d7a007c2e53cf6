"""Reads a tar, entry by entry, in all the forms that tars have.

Python's own `tarfile` does it too, but takes three times as long as making the files.

Sources followed: the GNU tar manual, "Basic Tar Format" and "Sparse Formats"
(https://www.gnu.org/software/tar/manual/html_node/Tar-Internals.html), pax in POSIX
(https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html), and tar(5) of libarchive.
"""

import os
from _struct import Struct  # `struct` itself only adds names

from stages.kernel.tarheaders import BLOCK, ZEROS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = b"0\0007S"  # S: GNU's, with holes
_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL = b"L", b"K", b"x", b"g"
# name, mode, uid, gid, size, mtime, checksum, kind, link, magic, names of the owners, device (two numbers), prefix
_FIELDS = Struct("100s 8s 8s 8s 12s 12s 8s 1s 100s 6s 2x 64s 8s 8s 155s 12x").unpack
_NO_OWNERS = bytes(64)
_KNOWN: dict[bytes, int] = {}
_BUFFER = 32 << 10
_LONGEST = 16 << 20  # of what stands before a header: names, attributes
_XATTR = b"SCHILY.xattr."


class NotATar(Exception):
    """What was read is not even one header."""


class Damaged(Exception):
    """A header whose checksum or numbers are wrong."""


class CutShort(Exception):
    """The archive ends before its end is marked."""


class Entry:
    """One entry.

    `name` and `link` are bytes as they stand in the archive, `kind` one byte, `mtime` nanoseconds since 1970, `size` the
    size of the file and `stored` how much of it follows in the archive.  `data` is where that belongs, (offset, length),
    when there are holes.  `is_plain` says that it is told as our own writer tells it.
    """

    __slots__ = ("data", "device", "gid", "is_plain", "kind", "link", "mode", "mtime", "name", "size", "start", "stored",
                 "uid", "xattrs")  # fmt: skip

    def __init__(self, block: bytes, start: int) -> None:
        (name, mode, uid, gid, size, mtime, _, self.kind, link, magic, owners, major, minor, prefix) = _FIELDS(block)
        self.name, self.link = name.partition(b"\0")[0], link.partition(b"\0")[0]
        self.mode, self.uid, self.gid = _known(mode) & 0o7777, _known(uid), _known(gid)
        self.size = self.stored = _number(size)
        self.mtime = _number(mtime, signed=True) * 10**9
        self.device = (_number(major), _number(minor)) if self.kind in b"34" else (0, 0)
        if prefix[0] and magic == b"ustar\0":
            self.name = prefix.partition(b"\0")[0] + b"/" + self.name
        if self.kind == b"\0" and self.name.endswith(b"/"):  # as before POSIX
            self.kind = b"5"
        self.is_plain = owners == _NO_OWNERS  # those that have names are not always the same numbers
        self.data: list[tuple[int, int]] = []
        self.xattrs: dict[str, bytes] = {}
        self.start = start

    @property
    def is_file(self) -> bool:
        """Is it a regular file?"""
        return self.kind in FILES


class Stream:
    """The archive's bytes, from a source that gives them in parts."""

    def __init__(self, parts: "Iterator[memoryview]") -> None:
        self.parts = parts
        self.part, self.at = memoryview(b""), 0
        self.before = 0  # the bytes of all parts before this one

    @property
    def offset(self) -> int:
        """Where in the archive the next byte is."""
        return self.before + self.at

    def some(self, most: int) -> memoryview:
        """The next bytes, at least one and at most so many; good until the next call.  Raises CutShort."""
        if self.at == len(self.part):
            self.before += self.at
            self.at = 0
            self.part = next(self.parts, memoryview(b""))
            if not self.part:
                raise CutShort
        found = self.part[self.at : self.at + most]
        self.at += len(found)
        return found

    def take(self, size: int) -> bytes:
        """The next `size` bytes.  Raises CutShort."""
        found = bytes(self.some(size)) if size else b""
        while len(found) < size:
            found += self.some(size - len(found))
        return found

    def skip(self, size: int) -> None:
        """Leave out so many bytes.  Raises CutShort."""
        while size:
            size -= len(self.some(size))

    def drain(self) -> None:
        """Read to the end."""
        self.at = len(self.part)
        for part in self.parts:
            self.before += self.at
            self.part, self.at = part, len(part)


class FileStream(Stream):
    """The bytes of a tar that is a file as it is: what is left out is not read."""

    def __init__(self, fd: int) -> None:
        super().__init__(iter(()))
        self.fd, self.buffer = fd, memoryview(bytearray(_BUFFER))

    def some(self, most: int) -> memoryview:
        """The next bytes, at least one and at most so many; good until the next call.  Raises CutShort."""
        if self.at == len(self.part):
            self.before += self.at
            self.at = 0
            os.lseek(self.fd, self.before, os.SEEK_SET)
            self.part = self.buffer[: os.readv(self.fd, [self.buffer])]
            if not self.part:
                raise CutShort
        found = self.part[self.at : self.at + most]
        self.at += len(found)
        return found

    def skip(self, size: int) -> None:
        """Leave out so many bytes; whether they are there is not looked at."""
        if self.at + size <= len(self.part):
            self.at += size
        else:
            self.before += self.at + size
            self.part, self.at = self.buffer[:0], 0


def entries(stream: Stream) -> "Iterator[Entry]":
    """The entries of a tar.  After each, its content is at hand: exactly `stored` bytes of `stream` have to be taken.

    Raises NotATar, Damaged, CutShort.
    """
    for_all: list[tuple[bytes, bytes]] = []
    start, records, name, link = 0, for_all, b"", b""
    while (block := _header(stream)) != ZEROS:
        entry = Entry(block, start)
        if entry.kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL):
            content = _padded(stream, entry.size)
            if entry.kind == _LONG_NAME:
                name = content.partition(b"\0")[0]
            elif entry.kind == _LONG_LINK:
                link = content.partition(b"\0")[0]
            elif entry.kind == _PAX:
                records = for_all + _records(content)
            else:
                records = for_all = for_all + _records(content)
            continue
        if records:
            _apply(entry, records, stream)
        entry.name, entry.link = name or entry.name, link or entry.link
        if entry.kind == b"S":
            _read_old_sparse_map(entry, block, stream)
        if not entry.is_file:
            entry.stored = 0
        entry.is_plain = entry.is_plain and not for_all
        padding = -entry.stored % BLOCK
        end = stream.offset + entry.stored
        yield entry
        assert stream.offset == end
        stream.skip(padding)
        start, records, name, link = stream.offset, for_all, b"", b""


def _header(stream: Stream) -> bytes:
    """The next header, or the block of zeros that ends the archive."""
    is_first = not stream.offset
    try:
        block = stream.take(BLOCK)
    except CutShort:
        if is_first:
            raise NotATar from None
        raise
    if block == ZEROS:
        return block
    # Zeros add nothing, and most of a header is zeros.  The checksum counts its own eight bytes as blanks.
    checksum = block[148:156]
    total = sum(block.translate(None, b"\0")) - sum(checksum) + 8 * 0x20
    try:
        told = _number(checksum)
        # Some old programs counted bytes as signed.
        is_good = told == total or told == total - 256 * sum(byte > 127 for byte in block)
    except Damaged:
        is_good = False
    if not is_good:
        raise NotATar if is_first else Damaged
    return block


def _number(field: bytes, signed: bool = False) -> int:
    """A number in octal, or in GNU's base 256: first bit set, the second is the sign, two's complement."""
    if field[0] & 0x40 and field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=True)
    elif field[0] & 0x80:
        value = int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
    else:
        digits = field.partition(b"\0")[0].strip()
        try:
            value = int(digits, 8) if digits else 0
        except ValueError:
            raise Damaged from None
    if value < 0 and not signed:
        raise Damaged
    return value


def _known(field: bytes) -> int:
    """The same, for the few numbers that nearly all entries share."""
    try:
        return _KNOWN[field]
    except KeyError:
        return _KNOWN.setdefault(field, _number(field))


def _padded(stream: Stream, size: int) -> bytes:
    if size > _LONGEST:
        raise Damaged
    content = stream.take(size)
    stream.skip(-size % BLOCK)
    return content


def _records(content: bytes) -> list[tuple[bytes, bytes]]:
    """The records of a pax header, `LENGTH keyword=value`, in their order."""
    found = []
    while content and content[0]:
        try:
            length = int(content[: content.index(b" ")])
        except ValueError:
            raise Damaged from None
        record, content = content[:length], content[length:]
        keyword, equals, value = record.partition(b" ")[2].partition(b"=")
        if length < 5 or len(record) != length or not equals or not value.endswith(b"\n"):
            raise Damaged
        found.append((keyword, value[:-1]))
    return found


def _apply(entry: Entry, records: list[tuple[bytes, bytes]], stream: Stream) -> None:
    """Let pax records say what a header has no room for."""
    words = dict(records)
    for keyword, value in words.items():
        if keyword.startswith(_XATTR):
            # GNU tar's own way of keeping "=" out of a keyword.
            name = keyword[len(_XATTR) :].replace(b"%3D", b"=").replace(b"%25", b"%")
            entry.xattrs[name.decode("utf-8", "surrogateescape")] = value
        else:
            entry.is_plain = False
    try:
        if b"size" in words:
            entry.size = entry.stored = _decimal(words[b"size"])
        entry.uid, entry.gid = _decimal(words.get(b"uid", entry.uid)), _decimal(words.get(b"gid", entry.gid))
        if b"mtime" in words:
            entry.mtime = _nanoseconds(words[b"mtime"].decode())
        entry.name = words.get(b"GNU.sparse.name", words.get(b"path", entry.name))
        entry.link = words.get(b"linkpath", entry.link)
        _apply_sparse(entry, records, words, stream)
    except ValueError:
        raise Damaged from None


def _apply_sparse(entry: Entry, records: list[tuple[bytes, bytes]], words: dict[bytes, bytes], stream: Stream) -> None:
    """The three ways in which GNU tar tells with pax records where the holes are."""
    size = words.get(b"GNU.sparse.realsize", words.get(b"GNU.sparse.size"))
    if size is None:
        return
    if words.get(b"GNU.sparse.major") == b"1":
        before = stream.offset
        numbers = _sparse_map_in_content(stream)
        entry.stored -= stream.offset - before
    elif b"GNU.sparse.map" in words:
        numbers = [_decimal(word) for word in words[b"GNU.sparse.map"].split(b",")]
    else:
        wanted = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
        numbers = [_decimal(value) for keyword, value in records if keyword in wanted]
    entry.size = _decimal(size)
    entry.data = list(zip(numbers[::2], numbers[1::2], strict=True))
    _check_map(entry)


def _sparse_map_in_content(stream: Stream) -> list[int]:
    """Version 1.0: decimal numbers, one a line, in front of the content; the first says how many pairs follow."""
    text = stream.take(BLOCK)
    while text.count(b"\n") < 1 + 2 * (count := _decimal(text.partition(b"\n")[0])) and len(text) < _LONGEST:
        text += stream.take(BLOCK)
    return [_decimal(line) for line in text.split(b"\n")[1 : 1 + 2 * count]]


def _read_old_sparse_map(entry: Entry, block: bytes, stream: Stream) -> None:
    """GNU's kind S: four pairs in the header, then 21 in each block that follows it."""
    fields, more = block[386:482], block[482]
    entry.size = _number(block[483:495])
    words = b""
    while True:
        words += fields
        if not more or len(words) > _LONGEST:
            break
        following = stream.take(BLOCK)
        fields, more = following[:504], following[504]
    pairs = [(_number(words[at : at + 12]), _number(words[at + 12 : at + 24])) for at in range(0, len(words), 24)]
    entry.data = [(offset, length) for offset, length in pairs if length or offset]
    _check_map(entry)


def _check_map(entry: Entry) -> None:
    end = 0
    for offset, length in entry.data:
        if offset < end:
            raise Damaged
        end = offset + length
    # Each part is padded to a block; only the last one can need it.
    if end > entry.size or sum(length for _, length in entry.data) != entry.stored:
        raise Damaged
    entry.data = entry.data or [(entry.size, 0)]


def _decimal(text: bytes | int) -> int:
    value = int(text)
    if value < 0:
        raise Damaged
    return value


def _nanoseconds(text: str) -> int:
    """A pax time.  A float has not digits enough: it would round up a second."""
    seconds, _, fraction = text.removeprefix("-").partition(".")
    nanoseconds = int(seconds) * 10**9 + int(fraction[:9].ljust(9, "0"))
    return -nanoseconds if text.startswith("-") else nanoseconds
