"""A tar that is written by a second thread, while the first one reads the files that come next."""

from _queue import SimpleQueue
from _thread import start_new_thread

from stages.kernel.tar import Archive, write_all

_BUFFERS = 3  # one is filled and one written; two more, for neither goes at an even pace


class PipelinedArchive(Archive):
    """An archive, to be used with `with`: its thread ends at the end of the block.

    What goes wrong in writing is raised by whatever is added next, at the latest by `finish`.
    """

    def __init__(self, out: int) -> None:
        super().__init__(out)
        self.full: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        self.free: SimpleQueue[memoryview | BaseException | None] = SimpleQueue()
        for _ in range(_BUFFERS - 1):
            self.free.put(memoryview(bytearray(self.room)))
        start_new_thread(self._write, ())

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
            pass  # who closes the file now must not do it while something is written to it

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
        self.free.put(None)
