"""What lies where in an image that was unpacked from gzip: which gzip members hold which entries.

It is written down while the image is unpacked, beside its directory, so that it can't say anything else than what the
directory was made from.  `incremental.py` makes use of it.

The file is a list of fields with a zero byte behind each: the stamp of the directory, when unpacking ended, then for each
group its size, and for each of its entries a name, or a name and the name that it is a hard link to.  A field's first
byte says what it is.
"""

import os
import time
from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stages.kernel.unpack import Layout

_CLOCK_REALTIME_COARSE = 5  # the clock that ctimes are taken from: clock_gettime(2). Python has no name for it.
_STAMP, _ENDED, _GROUP, _DIRECTORY, _ENTRY, _LINK, _TARGET = b"s", b"t", b"g", b"d", b"e", b"l", b"h"


class Group:
    """Gzip members that can be copied without those around them: whole entries lie in them, and nothing else.

    `offset` and `size` are of the compressed file; `links` tells of hard links among the entries which name they stand for.
    """

    __slots__ = ("links", "names", "offset", "size")

    def __init__(self, offset: int, size: int) -> None:
        self.offset, self.size = offset, size
        self.names: list[bytes] = []
        self.links: dict[bytes, bytes] = {}


def write(fd: int, stamp: bytes, layout: "Layout") -> None:
    """Write the index of an image that has just been unpacked to `fd`; nothing, where there is none.

    There is none unless our own writer could have made the archive: else a copied part might not mean the same in
    another place, or to another reader of tars.
    """
    directories = {name for _, kind, name, _ in layout.entries if kind == b"5"}
    others = [name for _, kind, name, _ in layout.entries if kind != b"5"]
    if len(directories | set(others)) < len(directories) + len(others) or not layout.is_plain:
        return
    numbers = {start: number for number, (start, *_) in enumerate(layout.entries)}
    numbers[layout.end] = len(layout.entries)
    # A group begins where a gzip member and an entry begin at the same place.
    cuts = [(numbers[content], packed) for content, packed in layout.members if content in numbers]
    if cuts[:1] != [(0, 0)] or cuts[-1][0] != len(layout.entries):
        return
    fields = [_STAMP + stamp, _ENDED + b"%d" % _moment()]
    for (first, start), (behind, end) in pairwise(cuts):
        fields.append(_GROUP + b"%d" % (end - start))
        for _, kind, name, link in layout.entries[first:behind]:
            fields += [_LINK + name, _TARGET + link] if link else [(_DIRECTORY if kind == b"5" else _ENTRY) + name]
    rest = b"\0".join([*fields, b""])
    while rest:
        rest = rest[os.write(fd, rest) :]


def _moment() -> int:
    """A time (nanoseconds since 1970) that no ctime of before is later than, and each of after is.

    The clock of ctimes stands still between two ticks of the kernel's timer, 1 to 10 ms: we wait for the next one.
    """
    now = time.time_ns()
    while time.clock_gettime_ns(_CLOCK_REALTIME_COARSE) <= now:
        time.sleep(0.001)
    return now


class Index:
    """An index as it is read back.

    `ended`, nanoseconds since 1970, is when unpacking was done.  `groups` are in the order of the file, `groups_of` tells for
    each name in which of them it stands: a directory may stand in several.  `directories` are the names of those.
    Raises ValueError when there is none that belongs to a directory with this `stamp`.
    """

    def __init__(self, path: str, stamp: bytes) -> None:
        try:
            with open(path, "rb") as file:
                fields = file.read().split(b"\0")
        except FileNotFoundError:
            raise ValueError("there is no index") from None
        if fields.pop() or len(fields) < 2 or fields[0] != _STAMP + stamp:
            raise ValueError("the index is of something else")
        self.ended = int(fields[1][1:])
        self.groups: list[Group] = []
        self.groups_of: dict[bytes, list[Group]] = {}
        self.directories: set[bytes] = set()
        self._fill(fields[2:])

    def _fill(self, fields: list[bytes]) -> None:
        offset, group, groups_of = 0, Group(0, 0), self.groups_of
        alone = [group]
        names, name = group.names, b""
        for field in fields:
            kind, value = field[:1], field[1:]
            if kind == _TARGET:
                group.links[name] = value
            elif kind == _GROUP:
                group = Group(offset, int(value))
                names, offset, alone = group.names, offset + group.size, [group]
                self.groups.append(group)
            else:
                name = value
                names.append(name)
                if groups_of.setdefault(name, alone) is not alone:
                    groups_of[name] = [*groups_of[name], group]
                if kind == _DIRECTORY:
                    self.directories.add(name)


def changed_since(directory: str, ended: int) -> bool:
    """Was anything below `directory` made, removed, written to or renamed since then?  Not the directory itself.

    Each change of an inode, and of what is in a directory, sets its ctime; nobody can set it back.  inode(7)
    """
    to_do = [directory]
    while to_do:
        with os.scandir(to_do.pop()) as entries:
            for entry in entries:
                if entry.stat(follow_symlinks=False).st_ctime_ns > ended:
                    return True
                if entry.is_dir(follow_symlinks=False):
                    to_do.append(entry.path)
    return False
