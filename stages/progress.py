"""A bar that shows how far a long work has come: on a terminal, once it takes longer than a second, else not at all.

It is on standard error, so what the work prints stays as it is.
"""

import os
import sys
import time

AFTER, EVERY = 1.0, 0.1  # seconds
CELLS = 30
USUAL = 80


class Progress:
    """The progress of one work, of `total` parts, which are called `parts`, such as "42 checks"."""

    def __init__(self, total: int, parts: str) -> None:
        self.total, self.parts = total, parts
        self.due = time.monotonic() + AFTER
        self.shown = 0  # letters
        try:
            self.columns = os.get_terminal_size(sys.stderr.fileno()).columns or USUAL  # some do not know theirs
        except (AttributeError, OSError, ValueError):  # closed, or no terminal
            self.columns = 0

    def show(self, done: int) -> None:
        """So many parts are done.  To be called as often as one likes."""
        if not self.columns or time.monotonic() < self.due:
            return
        self.due = time.monotonic() + EVERY
        bar = "#" * (CELLS * done // max(1, self.total))
        self._put(f"[{bar:{CELLS}}] {done} of {self.total} {self.parts}"[: self.columns - 1])

    def hide(self) -> None:
        """Take the bar away, so that something else can be printed there."""
        if self.shown:
            self._put("")

    def _put(self, line: str) -> None:
        # Blanks, not an escape sequence: any terminal knows them.
        print(f"\r{line:{self.shown}}", end="" if line else "\r", file=sys.stderr, flush=True)
        self.shown = len(line)
