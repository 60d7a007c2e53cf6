"""The headers of a tar: ustar, with GNU's extensions where ustar has no room, and pax records for attributes.

GNU's form is taken for long names because it holds plain bytes, while a pax name has to be UTF-8, which a file
name need not be.

Sources followed:
https://www.gnu.org/software/tar/manual/html_node/Standard.html "Basic Tar Format", and there "Sparse Formats"
https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html "pax Header Block"
https://man.freebsd.org/cgi/man.cgi?query=tar&sektion=5 tar(5) of libarchive
"""

import os

# The file types of inode(7), spelled out: the module `stat` would be one more import.
S_IFMT, S_IFDIR, S_IFREG, S_IFLNK = 0o170000, 0o040000, 0o100000, 0o120000
S_IFIFO, S_IFCHR, S_IFBLK = 0o010000, 0o020000, 0o060000
KINDS = {S_IFREG: b"0", S_IFLNK: b"2", S_IFCHR: b"3", S_IFBLK: b"4", S_IFDIR: b"5", S_IFIFO: b"6"}

BLOCK = 512
ZEROS = bytes(BLOCK)
_USTAR = b"ustar\x0000" + bytes(64)  # magic, version, and no names of user and group: owners are numbers
_GNU = b"ustar  \0" + bytes(64)  # GNU's magic: only with it a sparse entry is understood
_PREFIX = bytes(155 + 12)
_PLAIN_TAIL = bytes(100) + _USTAR + bytes(16) + _PREFIX  # what follows the kind of a file: no link, no device
_CONSTANT_SUM = sum(_USTAR) + 8 * 0x20  # the checksum counts its own eight bytes as blanks


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


def header_of(path: bytes, kind: bytes, status: os.stat_result, size: int = 0, link: bytes = b"") -> bytes:
    """The header of what `status` describes."""
    device = b""
    if kind == b"3" or kind == b"4":
        device = b"%07o\0%07o\0" % (os.major(status.st_rdev), os.minor(status.st_rdev))
    mtime = status.st_mtime_ns // 10**9
    return header(path, kind, status.st_mode, status.st_uid, status.st_gid, size, mtime, link, device)


def header(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int,
    link: bytes = b"", device: bytes = b"", sparse: bytes = b"",
) -> bytes:  # fmt: skip
    """One ustar header, 512 bytes, preceded by GNU's long name entries where a name has no room.

    `sparse` is what GNU's kind S has in the place of ustar's prefix, 167 bytes.
    """
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
    elif sparse:
        checksum += sum(_GNU) - sum(_USTAR) + sum(sparse)
        tail = bytes(100) + _GNU + bytes(16) + sparse
    return before + b"%b%b%06o\0 %b%b" % (name.ljust(100, b"\0"), numbers, checksum, kind, tail)


def sparse_header(path: bytes, status: os.stat_result, data: list[tuple[int, int]]) -> bytes:
    """The header of a file with holes, of which only `data` follows: (offset, length) of each part that is no hole.

    Four parts have room in the header, the others in blocks of 21 behind it.  A hole at the end is told by an empty part.
    """
    where = data if data and sum(data[-1]) == status.st_size else [*data, (status.st_size, 0)]
    words = [_number(offset, 12) + _number(length, 12) for offset, length in where]
    more = [words[start : start + 21] for start in range(4, len(words), 21)]
    sparse = b"".join([bytes(41), *words[:4]]).ljust(137, b"\0") + (b"\1" if more else b"\0")
    sparse += _number(status.st_size, 12) + bytes(17)
    blocks = [b"".join(block).ljust(504, b"\0") + b"\1" + bytes(7) for block in more]
    if blocks:
        blocks[-1] = blocks[-1][:504] + bytes(8)
    size = sum(length for _, length in data)
    mtime = status.st_mtime_ns // 10**9
    first = header(path, b"S", status.st_mode, status.st_uid, status.st_gid, size, mtime, sparse=sparse)
    return first + b"".join(blocks)


def _number(value: int, width: int) -> bytes:
    """A number in octal, or, if it has no room, in GNU's base 256: two's complement, first bit set."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return (value % (1 << 8 * width) | 0x80 << 8 * (width - 1)).to_bytes(width, "big")


def padded(content: bytes) -> bytes:
    """`content` and the zeros that fill its last block."""
    return content + ZEROS[: -len(content) % BLOCK]


def _long(kind: bytes, name: bytes) -> bytes:
    """GNU's entry for a name (L) or link target (K) over 100 bytes: the content of one before its own."""
    return header(b"././@LongLink", kind, 0, 0, 0, len(name) + 1, 0) + padded(name + b"\0")


def xattr_records(file: int | bytes) -> bytes:
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
    return records and header(b"././@PaxHeader", b"x", 0o644, 0, 0, len(records), 0) + padded(records)


def _record(keyword: bytes, value: bytes) -> bytes:
    """One pax record, `LENGTH keyword=value`, whose length counts its own digits."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))  # one digit more may have made the number longer
    return b"%d %b=%b\n" % (length, keyword, value)
