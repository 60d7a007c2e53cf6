"""Fills files from a tar in a second thread, while new ones are made in the first."""

import os
from _queue import SimpleQueue
from _thread import allocate_lock

from stages.kernel import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    Work = tuple[int, list[tuple[int, int, int]], Callable[[int], None]]

_MOST_OPEN = 64  # files that wait to be filled


class Copier:
    """Copies from the file `source`.  `wait` when everything has been handed over."""

    def __init__(self, source: int) -> None:
        self.source = source
        self.work: SimpleQueue[Work] = SimpleQueue()
        self.free: SimpleQueue[BaseException | None] = SimpleQueue()
        for _ in range(_MOST_OPEN):
            self.free.put(None)
        threads.start(self._run)

    def fill(self, fd: int, parts: list[tuple[int, int, int]], finish: "Callable[[int], None]") -> None:
        """Fill `fd` with parts (where in the source, where in the file, how long); then call `finish(fd)`, and close it.

        Raises what an earlier one raised: OSError, and EOFError when the source is too short.
        """
        self._take_turn()
        self.work.put((fd, parts, finish))

    def wait(self) -> None:
        """Wait until all files are filled.  Raises what `fill` does."""
        for _ in range(_MOST_OPEN):
            self._take_turn()

    def _take_turn(self) -> None:
        if error := self.free.get():
            raise error

    def _run(self) -> None:
        while True:
            fd, parts, finish = self.work.get()
            try:
                for source, target, size in parts:
                    os.lseek(fd, target, os.SEEK_SET)
                    self._copy(source, size, fd)
                finish(fd)
                self.free.put(None)
            except BaseException as error:
                self.free.put(error)
            finally:
                os.close(fd)

    def _copy(self, offset: int, size: int, fd: int) -> None:
        while size:
            copied = os.sendfile(fd, self.source, offset, size)
            if not copied:
                raise EOFError
            offset += copied
            size -= copied


def never_end() -> "NoReturn":
    """Let a thread wait for ever.

    Its end would make the C library load another one, libgcc_s; and after a chroot that would be the image's.
    """
    lock = allocate_lock()
    while True:
        lock.acquire()
