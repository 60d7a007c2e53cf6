"""A command at work in a world, what it prints and reads, and how it ended."""

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import init, patience
from harness.errors import WorldError

if TYPE_CHECKING:
    from harness.world import World

KEPT = 1 << 20  # bytes of each output that are kept; the rest is read, so that nobody waits for us, and counted
GRACE = 2  # seconds after a command's end in which its outputs have to be closed by all others
PATIENCE = 10 * patience.factor  # seconds for what takes milliseconds: longer only if something is wrong


@dataclass
class Done:
    """How a command ended.

    `code` is its exit code, negative the number of the signal that ended it; as in a shell 127 or 126 when it could not be started.
    `stdin` is what it was given to read, `out` and `err` what it printed (undecodable bytes as surrogates; on a terminal all is
    in `out`), `flooded` the number of bytes beyond those. `timed_out`: it was ended at its limit. `seconds`: how long it took.
    `held`: two seconds after its end something else still had its standard output or error open.
    `looked_at`: a check has asked how it ended, and was content.
    """

    argv: list[str]
    code: int
    stdin: str
    out: str
    err: str
    timed_out: bool
    seconds: float
    flooded: int
    held: bool
    looked_at: bool = False

    @property
    def failed(self) -> bool:
        """Did the program itself fail, and not the command that it ran?"""
        return self.timed_out or self.code < 0 or self.code == 125


class Output:
    """One output of a command: the beginning is kept, the rest counted."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.kept = bytearray()
        self.dropped = 0
        self.ended = False
        os.set_blocking(descriptor, False)

    def read(self) -> None:
        """Take what is there now."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # how a terminal says that nobody has it open any more
                raise
            data = b""
        room = KEPT - len(self.kept)
        self.kept += data[:room]
        self.dropped += max(0, len(data) - room)
        self.ended = not data

    @property
    def text(self) -> str:
        return self.kept.decode(errors="surrogateescape")


class Running:
    """A command that was started in a world.

    What it prints is read when something here is called, not meanwhile: one that floods its output waits then, as on a slow terminal.
    """

    def __init__(self, world: "World", argv: list[str], request: bytes, stdin: bytes | None, terminal: bool) -> None:
        self.argv = argv
        self.stdin = (stdin or b"").decode(errors="surrogateescape")
        self.terminal = terminal
        self._world = world
        self._waiting = stdin or b""  # what is still to be written to its standard input
        self._code: int | None = None
        self._done: Done | None = None
        report_here, report = os.pipe()
        self._report = os.fdopen(report_here, "rb", buffering=0)
        if terminal:
            self._input, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            self._outputs = [Output(self._input)]
            standard = [theirs] * 3
        else:
            theirs, self._input = os.pipe()
            out, theirs_out = os.pipe()
            err, theirs_err = os.pipe()
            self._outputs = [Output(out), Output(err)]
            standard = [theirs, theirs_out, theirs_err]
            os.set_blocking(self._input, False)
        asked = os.memfd_create("request")
        world._running.append(self)
        self._began = time.monotonic()
        tick = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
        try:
            os.write(asked, request)
            world._ask(init.RUN, [report, asked, *standard])
        finally:
            for descriptor in {report, asked, *standard}:
                os.close(descriptor)
        self.pid = self._world_pid()
        self._since = tick, self.pid  # whatever comes later in this order may be its child
        if stdin is not None and not self._waiting:
            self.close()

    def _world_pid(self) -> int:
        if not ready([self._report.fileno()], [], PATIENCE):
            raise WorldError(f"the world does not answer, so {self.argv[0]} was not started")
        word, _, rest = self._report.readline().decode().strip().partition(" ")
        if word != "began":
            raise WorldError(f"{self.argv[0]} could not be started in the world: {rest or 'it has ended'}")
        return int(rest)

    def _pump(self, seconds: float) -> None:
        """Wait until something can be read or written, no longer than `seconds`, and do it."""
        reading = [output.descriptor for output in self._outputs if not output.ended]
        if self._code is None:
            reading.append(self._report.fileno())
        found = ready(reading, [self._input] if self._waiting else [], seconds)
        for output in self._outputs:
            if not output.ended and output.descriptor in found:
                output.read()
        if self._code is None and self._report.fileno() in found:
            word, _, rest = self._report.readline().decode().strip().partition(" ")
            self._code = int(rest) if word == "ended" else -signal.SIGKILL  # the world itself has ended
        if self._waiting and self._input in found:
            try:
                self._waiting = self._waiting[os.write(self._input, self._waiting[: 1 << 16]) :]
            except BlockingIOError:
                pass
            except OSError:  # it does not want to read it
                self._waiting = b""
            if not self._waiting:
                self.close()

    def _take(self) -> None:
        for output in self._outputs:
            while not output.ended and not output.dropped and ready([output.descriptor], [], 0):
                output.read()

    def out(self) -> str:
        """What it has printed so far."""
        self._take()
        return self._outputs[0].text

    def err(self) -> str:
        """What it has printed to its standard error so far."""
        self._take()
        return self._outputs[-1].text if not self.terminal else ""

    def screen(self) -> str:
        """What the terminal was sent so far, with all control characters."""
        return self.out()

    def write(self, data: bytes) -> None:
        """Write to its standard input, or type on its terminal.  Raises WorldError when nobody reads it."""
        end = time.monotonic() + PATIENCE
        while data:
            try:
                data = data[os.write(self._input, data) :]
            except BlockingIOError:
                if time.monotonic() > end:
                    raise WorldError(f"{self.argv[0]} does not read its standard input") from None
                self._pump(0.01)
            except OSError as error:
                raise WorldError(f"the standard input of {self.argv[0]} is closed: {error.strerror}") from None

    def type(self, text: str) -> None:
        """Type on its terminal."""
        self.write(text.encode(errors="surrogateescape"))

    def close(self) -> None:
        """Close its standard input: no more will come.  Its terminal, if it has one, is hung up."""
        if self._input >= 0:
            if self.terminal:
                self._take()
                self._outputs[0].ended = True
            os.close(self._input)
            self._input = -1
            self._waiting = b""

    def signal(self, number: int) -> None:
        """Send it a signal.  Nothing happens when it has ended."""
        self._pump(0)
        if self._code is None:
            self._world.signal(self.pid, number)

    def ended(self) -> bool:
        """Has it ended?"""
        self._pump(0)
        return self._code is not None

    def wait(self, timeout: float | None = None) -> Done:
        """Wait until it ends, and kill it and what it has started after `timeout` seconds, else the world's limit."""
        if self._done:
            return self._done
        end = patience.until(self._world.limit if timeout is None else timeout)
        timed_out = False
        while self._code is None:
            self._pump(end - time.monotonic())
            if self._code is None and time.monotonic() >= end:
                if timed_out:
                    raise WorldError(f"{self.argv[0]} does not end, though it was killed")
                timed_out = True
                self._world._end(self)
                end = time.monotonic() + PATIENCE
        seconds = time.monotonic() - self._began
        # A pipe into which nobody can write any more is at its end at once. Others may be about to close theirs.
        end = patience.until(GRACE)
        while (held := not all(output.ended for output in self._outputs)) and time.monotonic() < end:
            self._pump(end - time.monotonic())
        flooded = sum(output.dropped for output in self._outputs)
        err = "" if self.terminal else self._outputs[1].text
        out = self._outputs[0].text
        self._done = Done(self.argv, self._code, self.stdin, out, err, timed_out, seconds, flooded, held)
        if not held:  # else its pipes stay open as long as the world: who holds them is not to die of that
            self._forget()
        return self._done

    def _forget(self) -> None:
        """Close all, and be no longer in the world's list."""
        self.close()
        self._report.close()
        if not self.terminal:
            for output in self._outputs:
                os.close(output.descriptor)
        self._world._running.remove(self)


def ready(reading: list[int], writing: list[int], seconds: float) -> set[int]:
    """Which of these descriptors can be read or written, after waiting for that no longer than `seconds`."""
    poll = select.poll()  # not `select`, which knows no descriptor above 1023
    for descriptor in reading:
        poll.register(descriptor, select.POLLIN)
    for descriptor in writing:
        poll.register(descriptor, select.POLLOUT | (select.POLLIN if descriptor in reading else 0))
    return {descriptor for descriptor, _ in poll.poll(max(0, seconds) * 1000)}
