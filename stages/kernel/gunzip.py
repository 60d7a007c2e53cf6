"""Reads a gzip file in a second thread, so that one processor inflates while the other makes files.

https://www.rfc-editor.org/rfc/rfc1952 is the format: members, one behind the other; each has a header, deflate data, and
a checksum and size at the end.
"""

import os
import zlib
from _queue import SimpleQueue

from stages.kernel import isal, threads
from stages.kernel.copier import never_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x1f\x8b\x08"
_BUFFER = 256 << 10
_AHEAD = 4  # buffers
_KEPT = 8  # bytes before those that are still to be read: the unpacker may give that many back
_TEXT_CRC, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16  # flags in a member's header


class Damaged(Exception):
    """It is no gzip, or not what it was when its checksum was made."""


class Gunzip:
    """The content of a gzip file, buffer by buffer: `chunks`.

    `members` grows as it is read: where each member begins, in the content and in the file.
    The library is loaded when this is made, the thread started by `chunks`: so it can be made before a chroot.
    """

    def __init__(self, fd: int) -> None:
        self.source = _Source(fd)
        self.unpacker: isal.Unpacker | _ZlibUnpacker = isal.Unpacker() if isal.is_there() else _ZlibUnpacker()
        self.members: list[tuple[int, int]] = []
        # Buffers go in a circle: to the thread to be filled, to us to be emptied.
        self.empty: SimpleQueue[bytearray] = SimpleQueue()
        self.full: SimpleQueue[tuple[bytearray, int | BaseException]] = SimpleQueue()

    def chunks(self) -> "Iterator[memoryview]":
        """The content; each part is good until the next is asked for.

        Raises Damaged, EOFError when the file is cut short, OSError.
        """
        for _ in range(_AHEAD):
            self.empty.put(bytearray(_BUFFER))
        threads.start(self._fill)
        while True:
            buffer, size = self.full.get()
            if isinstance(size, BaseException):
                raise size
            if not size:
                return
            yield memoryview(buffer)[:size]
            self.empty.put(buffer)

    def _fill(self) -> None:
        """The thread: fill buffers, and say how it ended."""
        try:
            self._inflate()
            self.full.put((bytearray(), 0))
        except BaseException as error:
            self.full.put((bytearray(), error))
        never_end()

    def _inflate(self) -> None:
        source, unpacker = self.source, self.unpacker
        content, out = 0, self.empty.get()
        while not source.at_end():
            self.members.append((content, source.offset()))
            source.skip_header()
            unpacker.begin()
            checksum = size = 0
            while not unpacker.ended:
                try:
                    used, made = unpacker.step(source.buffer, source.start, source.end, out, source.is_last)
                except (ValueError, zlib.error):
                    raise Damaged from None
                source.start += used
                if not unpacker.ended and source.start == source.end:
                    source.refill()
                checksum = unpacker.crc32(checksum, out, made)
                size += made
                if made:
                    self.full.put((out, made))
                    out = self.empty.get()
            if source.take(8) != checksum.to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little"):
                raise EOFError if source.is_last and source.start == source.end else Damaged
            content += size


class _Source:
    """A file through one buffer, of which buffer[start:end] is still to be read."""

    def __init__(self, fd: int) -> None:
        self.fd, self.buffer = fd, bytearray(_BUFFER)
        self.start = self.end = self.read = 0
        self.is_last = False  # nothing comes behind what is in the buffer

    def offset(self) -> int:
        """Where in the file the next byte is."""
        return self.read - (self.end - self.start)

    def refill(self) -> None:
        """Read more; what is left in the buffer, and a little before it, is kept."""
        keep = max(self.start - _KEPT, 0)
        self.buffer[: self.end - keep] = self.buffer[keep : self.end]
        self.start, self.end = self.start - keep, self.end - keep
        got = os.readv(self.fd, [memoryview(self.buffer)[self.end :]])
        self.is_last = not got
        self.end += got
        self.read += got

    def take(self, size: int) -> bytes:
        """The next `size` bytes.  Raises EOFError."""
        while self.end - self.start < size:
            if self.is_last:
                raise EOFError
            self.refill()
        self.start += size
        return bytes(self.buffer[self.start - size : self.start])

    def at_end(self) -> bool:
        """Is there no member any more?  Zeros behind the last one are padding, as gzip(1) has it."""
        while True:
            while self.start < self.end and not self.buffer[self.start]:
                self.start += 1
            if self.start < self.end:
                return False
            if self.is_last:
                return True
            self.refill()

    def skip_header(self) -> None:
        """Read over a member's header."""
        if (head := self.take(10))[:3] != MAGIC:
            raise Damaged
        if head[3] & _EXTRA:
            self.take(int.from_bytes(self.take(2), "little"))
        for flag in (_NAME, _COMMENT):
            while head[3] & flag and self.take(1) != b"\0":
                pass
        if head[3] & _TEXT_CRC:
            self.take(2)


class _ZlibUnpacker:
    """The same as isal.Unpacker."""

    def begin(self) -> None:
        self.inner, self.ended = zlib.decompressobj(-15), False

    def step(self, source: bytearray, start: int, end: int, out: bytearray, last: bool) -> tuple[int, int]:
        content = self.inner.decompress(memoryview(source)[start:end], len(out))
        out[: len(content)] = content
        self.ended = self.inner.eof or (last and len(content) < len(out))
        left = self.inner.unused_data if self.inner.eof else self.inner.unconsumed_tail
        return end - start - len(left), len(content)

    def crc32(self, before: int, out: bytearray, size: int) -> int:
        return zlib.crc32(memoryview(out)[:size], before)
