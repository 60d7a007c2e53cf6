"""A terminal on the machine itself, with a person's shell in it, to which lines are typed one at a time."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

from harness import patience

HOST, CONTAINER = "host# ", "/ # "  # the prompts
COLUMNS = "200"
SECONDS = 30  # for one command
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # what a shell sends for its line editing. console_codes(4)


class Terminal:
    """`type` a line and get what is shown until the next prompt.  `screen` is all that was ever shown."""

    def __init__(self, directory: str, path: str) -> None:
        self.screen = ""
        self._descriptor, theirs = pty.openpty()
        environment = {
            **{name: os.environ[name] for name in ("LANG", "HOME") if name in os.environ},
            "PATH": path,
            "TERM": "xterm",
            "COLUMNS": COLUMNS,
            "PS1": HOST,
        }
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", "--wait", "sh", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            cwd=directory,
        )
        os.close(theirs)
        self._until(HOST)

    def type(self, line: str, prompt: str = HOST) -> str:
        """Type a line, and return what is printed below it until this prompt is there.

        A terminal shows what is typed, then what the command prints, then the prompt; only what is between is returned.
        """
        os.write(self._descriptor, f"{line}\n".encode())
        shown = self._until(prompt)
        return shown.partition(line)[2].lstrip("\n")

    def close(self) -> None:
        """Hang up, as when a terminal's window is closed."""
        os.close(self._descriptor)
        try:
            self._shell.wait(5)
        except subprocess.TimeoutExpired:
            self._shell.send_signal(signal.SIGKILL)
            self._shell.wait()

    def _until(self, prompt: str) -> str:
        """What is shown until the last line is this prompt.  The assertion says what was there instead."""
        end, shown = patience.until(SECONDS), ""
        while not re.search(rf"(^|\n){re.escape(prompt)}$", shown):
            left = end - time.monotonic()
            assert left > 0, f"there was no prompt {prompt!r} any more; on the screen:\n{self.screen}"
            if select.select([self._descriptor], [], [], left)[0]:
                new = os.read(self._descriptor, 65536).decode(errors="replace")
                self.screen += new
                shown = ESCAPES.sub("", shown + new).replace("\r", "")
        return shown[: -len(prompt)]


def names_in(tree: str) -> list[str]:
    """The names that `tree` prints, in its order, without the drawing and the numbers below it."""
    drawing, _, _ = tree.partition("\n\n")
    return [line.lstrip("│├└─|`- \xa0") for line in drawing.splitlines()[1:]]


def mounted(target: Path) -> str:
    """What the kernel's table of mounts says of this place, to the end of the line; empty when nothing is mounted there."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return next((line for line in reversed(lines) if line.split(" ")[4] == str(target)), "")
