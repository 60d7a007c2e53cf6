"""A bar that shows how far long work has come: on a terminal, when it takes longer than a second; else nothing.

It stands on standard error, so that what a program prints stays clean, and is wiped away at the end.
"""

import os
from _thread import allocate_lock

from stages.kernel import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_QUIET, _PAUSE = 1.0, 0.1  # seconds: before it shows itself, and between two looks
_WIDTH = 30
_WIPE = "\r\x1b[K"  # "erase in line" in console_codes(4)


class Progress:
    """`with Progress("packing", done, total):` shows a bar for as long as the block takes.

    A thread of its own asks `done` how much is done, and `total`, once and not before the bar appears, how much there is to do.
    """

    def __init__(self, what: str, done: "Callable[[], int]", total: "Callable[[], int]") -> None:
        self.what, self.done, self.total = what, done, total
        self.ended, self.gone = allocate_lock(), allocate_lock()

    def __enter__(self) -> None:
        self.ended.acquire()
        if os.isatty(2):
            self.gone.acquire()
            threads.start(self._watch)

    def __exit__(self, *_: object) -> None:
        self.ended.release()
        self.gone.acquire()  # else the wipe could come behind what is said next

    def _watch(self) -> None:
        try:
            self._show_until_ended()
        except OSError:
            pass  # no terminal any more, or nothing to look at
        finally:
            self.gone.release()

    def _show_until_ended(self) -> None:
        if self.ended.acquire(timeout=_QUIET):
            return
        total = max(self.total(), 1)
        while True:
            part = min(self.done() / total, 1.0)
            bar = ("#" * int(part * _WIDTH)).ljust(_WIDTH)
            os.write(2, f"{_WIPE}{self.what} [{bar}] {part:4.0%}".encode())
            if self.ended.acquire(timeout=_PAUSE):
                break
        os.write(2, _WIPE.encode())
