"""A tar that is compressed on its way out, on all processors: independent gzip members of about 1 MiB each.

RFC 1952 allows a gzip file to be any number of members, one behind the other, and every gunzip reads them as one.  A member
is compressed without a look at the others.  So several can be made at once, and a later commit can copy those in which
nothing has changed: see `incremental.py`.  For that, a member begins with an entry wherever it can.
"""

import os
import zlib
from _queue import SimpleQueue

from stages.kernel import isal, threads
from stages.kernel.tar import Archive, write_all
from stages.kernel.tarheaders import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MEMBER = 1 << 20  # bytes of tar in one gzip member, at most
ZLIB_LEVEL = 1
MOST_THREADS = 8  # more can't be fed by the one that reads files


class GzipArchive(Archive):
    """An archive whose bytes go out as gzip members; `with` it, for its threads end at the end of the block.

    `taken` is how much it was given so far: bytes of tar, and bytes of members that were copied.

    With `everywhere_the_same` it is zlib that compresses, which every Python has: ISA-L makes other bytes.
    """

    def __init__(self, out: int, everywhere_the_same: bool = False) -> None:
        super().__init__(out, MEMBER)
        pack = _ZlibPacker if everywhere_the_same or not isal.is_there() else isal.Packer
        self.pack = pack
        # One more than there are processors: they work while the buffer of one is being filled.
        self.most = min(len(os.sched_getaffinity(0)), MOST_THREADS) + 1
        self.idle: list[_Worker] = []
        self.workers: list[_Worker] = []
        self._fill_next()
        self.on_the_way: list[_Worker | tuple[int, int, int]] = []  # in the order in which they are to be written
        self.taken = 0
        self.is_long = False  # the entry that was begun last has members of its own

    def begin(self, headers: bytes, size: int = 0) -> None:
        """Begin an entry, in a new member if it does not fit as a whole into what is left of this one."""
        whole = len(headers) + size + -size % BLOCK
        if self.is_long or self.end + whole > self.room:
            self.flush()
        self.is_long = whole > self.room
        self.add(headers)

    def flush(self) -> None:
        """Let what is in the buffer be compressed, as a member."""
        if not self.end:
            return
        self.filling.begin(self.end)
        self.on_the_way.append(self.filling)
        self.taken += self.end
        self.end = 0
        self._fill_next()

    def add_members(self, source: int, offset: int, size: int) -> None:
        """Append gzip members as they are in the file `source`: `size` bytes from `offset` on."""
        self.flush()
        self.on_the_way.append((source, offset, size))
        self.taken += size
        while self.on_the_way and isinstance(self.on_the_way[0], tuple):
            self._write_next()

    def finish(self) -> None:
        """Append the end of the tar, as a member of its own: what is before it can be copied without it."""
        self.flush()
        super().finish()
        self.write_all()

    def write_all(self) -> None:
        """Wait until everything is written."""
        self.flush()
        while self.on_the_way:
            self._write_next()

    def __enter__(self) -> "GzipArchive":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.end()

    def _fill_next(self) -> None:
        """Take a buffer to fill: of a worker that is idle, or a new one, as long as there may be more."""
        if not self.idle and len(self.workers) < self.most:
            self.workers.append(_Worker(self.pack))
            self.idle.append(self.workers[-1])
        while not self.idle:
            self._write_next()
        self.filling = self.idle.pop()
        self.buffer = self.filling.buffer

    def _write_next(self) -> None:
        first = self.on_the_way.pop(0)
        if isinstance(first, tuple):
            return copy(*first, self.out)
        write_all(self.out, first.result())
        self.idle.append(first)


def copy(source: int, offset: int, size: int, out: int) -> None:
    """Append `size` bytes of a file to another: shared on the disk where the file system can, else in the kernel.

    https://man7.org/linux/man-pages/man2/copy_file_range.2.html
    """
    end = offset + size
    while offset < end:
        copied = os.copy_file_range(source, out, end - offset, offset_src=offset)
        if not copied:
            raise OSError(5, "the base image was cut short meanwhile")
        offset += copied


class _Worker:
    """A thread that compresses what is in its buffer, again and again."""

    def __init__(self, packer: "Callable[[bytearray], Callable[[int], memoryview]]") -> None:
        memory = bytearray(MEMBER)
        self.pack, self.buffer = packer(memory), memoryview(memory)
        self.todo: SimpleQueue[int] = SimpleQueue()
        self.done: SimpleQueue[memoryview | BaseException] = SimpleQueue()
        threads.start(self._work)

    def begin(self, size: int) -> None:
        """Compress the first `size` bytes of the buffer."""
        self.todo.put(size)

    def result(self) -> memoryview:
        """Wait for what `begin` was asked for."""
        packed = self.done.get()
        if isinstance(packed, BaseException):
            raise packed
        return packed

    def end(self) -> None:
        """End the thread, when it is done with what it does."""
        self.todo.put(0)

    def _work(self) -> None:
        while size := self.todo.get():
            try:
                self.done.put(self.pack(size))
            except BaseException as error:
                self.done.put(error)


class _ZlibPacker:
    def __init__(self, buffer: bytearray) -> None:
        self.buffer = memoryview(buffer)

    def __call__(self, size: int) -> memoryview:
        packer = zlib.compressobj(ZLIB_LEVEL, zlib.DEFLATED, 31)  # 31: with gzip's header and checksum
        return memoryview(packer.compress(self.buffer[:size]) + packer.flush())
