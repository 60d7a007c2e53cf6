"""A tar that is written by a second thread, while the first one reads the files that come next."""

import os
from _queue import SimpleQueue

from stages.kernel import threads
from stages.kernel.tar import Archive, write_all

_BUFFERS = 3  # one is filled, one is written, and one waits, for neither goes at an even pace


class PipelinedArchive(Archive):
    """An archive, to be used with `with`: its thread ends at the end of the block.

    What goes wrong in writing is raised by whatever is added next, at the latest by `finish`.
    """

    def __init__(self, out: int) -> None:
        super().__init__(os.dup(out))  # the thread's own: whoever closes `out`, what it writes to is this file
        self.full: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        self.free: SimpleQueue[memoryview | BaseException | None] = SimpleQueue()
        for _ in range(_BUFFERS - 1):
            self.free.put(memoryview(bytearray(self.room)))
        try:
            threads.start(self._write)
        except OSError:
            os.close(self.out)
            raise

    def flush(self) -> None:
        """Let what is in the buffer be written, and go on with another one."""
        self.full.put((self.buffer, self.end))
        self.buffer, self.end = self._next_free(), 0

    def finish(self) -> None:
        """Append the end of the tar, and wait until all is written."""
        super().finish()
        for _ in range(_BUFFERS - 1):
            self._next_free()

    def __enter__(self) -> "PipelinedArchive":
        return self

    def __exit__(self, *_: object) -> None:
        self.full.put(None)
        while self.free.get() is not None:
            pass  # what is in the buffers is written, and nothing is afterwards

    def _next_free(self) -> memoryview:
        buffer = self.free.get()
        if isinstance(buffer, BaseException):
            raise buffer
        assert buffer is not None
        return buffer

    def _write(self) -> None:
        while (filled := self.full.get()) is not None:
            buffer, end = filled
            try:
                write_all(self.out, buffer[:end])
                self.free.put(buffer)
            except BaseException as error:
                self.free.put(error)
        os.close(self.out)
        self.free.put(None)
