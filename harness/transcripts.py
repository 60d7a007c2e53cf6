"""The console blocks of a chapter's page, typed again in a world: what a reader sees there is what happens.

A page is Markdown. These blocks in it are checked:

    ```console            commands behind `$ ` in one shell for the whole page, behind `# ` or `/ # ` in a container's shell that
                          was started there; below each, what it prints
    ```console second     the same in a second terminal
    ```sh explain: run …  lines of the script that `stages run X -- run --explain …` prints, in that order
    ```sh explain v2: …   the same where cgroups are v2, or `v1`; that is checked only on a machine with v1
    ```python FILE        all of that file, which lies beside the page

What differs from run to run is written as a hole: `<pid>`, `<id>` (ten digits), `<time>`, `<number>`, `<word>`. A hole with a digit,
such as `<pid1>`, is the same wherever the page has it, also in a command. `…` alone on a line stands for any lines, at the end
of a line for the rest of it. How many blanks there are does not matter.
"""

import difflib
import fcntl
import re
import secrets
import struct
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness import patience
from harness.cgroup_version import cgroup_version
from harness.running import Running
from harness.world import World

HOLES = {
    "pid": r"\d+",
    "id": r"[1-9]\d{9}",
    "time": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    "number": r"\d+",
    "word": r"\S+",
}
HOLE = re.compile(rf"<({'|'.join(HOLES)})(\d*)>")
PROMPTS = ("$ ", "/ # ", "# ")
PATIENCE = 20 * patience.factor  # seconds for one command

# The files by which a program knows v2, in a mount namespace of its own. No limit can be set there, but explained.
LIKE_V2 = """\
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo cpuset cpu memory >/var/tmp/controllers
mount --bind /var/tmp/controllers /sys/fs/cgroup/cgroup.controllers
exec "$@"
"""


class PageError(Exception):
    """A page is not as it has to be, or not what happens.  The text is for whoever wrote it."""


@dataclass
class Block:
    """A fenced block of a page: its kind (`console`), what stands behind that, its lines, and the line of the page."""

    kind: str
    info: str
    lines: list[str]
    number: int


@dataclass
class Typed:
    """One command of a console block, and what the page says that it prints."""

    prompt: str
    command: str
    number: int
    printed: list[str] = field(default_factory=list)


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order.  Raises PageError when one is not closed."""
    found: list[Block] = []
    inside: Block | None = None
    for number, line in enumerate(page.split("\n"), 1):
        if not line.startswith("```"):
            if inside:
                inside.lines.append(line)
        elif inside:
            found.append(inside)
            inside = None
        else:
            kind, _, info = line[3:].strip().partition(" ")
            inside = Block(kind, info.strip(), [], number)
    if inside:
        raise PageError(f"line {inside.number}: this block is not closed")
    return found


def typed(block: Block) -> list[Typed]:
    """The commands of a console block.  Raises PageError when it does not begin with one."""
    found: list[Typed] = []
    for number, line in enumerate(block.lines, block.number + 1):
        prompt = next((prompt for prompt in PROMPTS if line.startswith(prompt)), "")
        if prompt:
            found.append(Typed(prompt, line[len(prompt) :], number))
        elif found:
            found[-1].printed.append(line)
        elif line:
            raise PageError(f"line {number}: a console block begins with a command behind one of {', '.join(PROMPTS)}")
    return found


class Terminal:
    """A shell that stays, and what is typed there and in the containers' shells that are started from it."""

    def __init__(self, world: World, environment: dict[str, str]) -> None:
        self.running: Running = world.start(["sh"], env=environment, cwd="/root")
        self.running.write(b"exec 2>&1\n")
        self.read = 0  # so much of what it has printed was looked at
        self.waiting: list[str] = []  # the marks of shells that wait for the one that they have started

    def type(self, prompt: str, command: str) -> list[str]:
        """Type a line, and return the lines that come until that shell is ready for the next one.

        A command that starts a container's shell does not end: then its lines are those that come before the first of its own.
        """
        mark = f"mark-{secrets.token_hex(8)}"
        self._wait_until_it_reads()
        self.running.write(f"{command}\necho {mark}\n".encode())
        end = time.monotonic() + PATIENCE
        if prompt != "$ " and command.strip() == "exit":
            mark = self.waiting.pop() if self.waiting else mark
        while True:
            text = self.running.out()[self.read :]
            if f"{mark}\n" in text:
                shown = text.partition(f"{mark}\n")[0]
                self.read += len(shown) + len(mark) + 1
                return shown.splitlines()
            if starts_a_shell(command) and not text:
                self._wait_until_it_reads()
                self.waiting.append(mark)
                return []
            if time.monotonic() > end or self.running.ended():
                raise PageError(f"`{command}` did not end; it has printed: {text!r}")
            time.sleep(0.005)

    def _wait_until_it_reads(self) -> None:
        """Until all that was typed is taken: else the shell would take what is meant for the one that it starts."""
        end = time.monotonic() + PATIENCE
        while struct.unpack("i", fcntl.ioctl(self.running._input, termios.FIONREAD, b"\0" * 4))[0]:
            if time.monotonic() > end:
                raise PageError("the shell does not read what is typed")
            time.sleep(0.002)


def starts_a_shell(command: str) -> bool:
    """Is it a `run -ti … sh` or `exec … sh`, to which the next lines are typed?"""
    words = command.split()
    return bool(words) and words[-1] in ("sh", "/bin/sh") and ("-ti" in words or "exec" in words)


class Play:
    """A page at work: the terminals, and what the holes with a digit stand for."""

    def __init__(self, world: World, environment: dict[str, str]) -> None:
        self.world, self.environment = world, environment
        self.terminals: dict[str, Terminal] = {}
        self.bound: dict[str, str] = {}

    def play(self, block: Block) -> None:
        """Type a console block, and compare.  Raises PageError, with the difference."""
        name = block.info or "first"
        terminal = self.terminals.setdefault(name, Terminal(self.world, self.environment))
        for line in typed(block):
            command = HOLE.sub(lambda hole: self.bound.get(hole.group(), hole.group()), line.command)
            found = terminal.type(line.prompt, command)
            if not self.fits(line.printed, found):
                difference = "\n".join(
                    difflib.unified_diff(line.printed, found, "the page", "what happens", lineterm="")
                )
                raise PageError(f"line {line.number}: {line.prompt}{command}\n{difference}")

    def fits(self, expected: list[str], found: list[str]) -> bool:
        """Is what was found what the page says?  Remembers what the holes with a digit stand for."""
        match = re.fullmatch(self._pattern(expected), "".join(f"{_narrow(line)}\n" for line in found))
        if match:
            self.bound.update({f"<{name}>": value for name, value in match.groupdict().items()})
        return bool(match)

    def _pattern(self, lines: list[str]) -> str:
        seen: set[str] = set()
        return "".join(
            r"(?:.*\n)*?" if line.strip() == "…" else self._line(_narrow(line), seen) + r"\n" for line in lines
        )

    def _line(self, line: str, seen: set[str]) -> str:
        rest = ""
        if line.endswith("…"):
            line, rest = line[:-1].rstrip(), ".*"
        pattern, end = "", 0
        for hole in HOLE.finditer(line):
            pattern += re.escape(line[end : hole.start()])
            name, digit = hole.groups()
            if not digit:
                pattern += HOLES[name]
            elif hole.group() in self.bound:
                pattern += re.escape(self.bound[hole.group()])
            elif name + digit in seen:
                pattern += f"(?P={name}{digit})"
            else:
                seen.add(name + digit)
                pattern += f"(?P<{name}{digit}>{HOLES[name]})"
            end = hole.end()
        return pattern + re.escape(line[end:]) + rest


def _narrow(line: str) -> str:
    return re.sub(r"\s+", " ", line).strip()


def in_order(wanted: list[str], script: list[str], play: Play) -> str:
    """The first line of `wanted` that is not in the script behind the ones before it; empty when all are."""
    place = 0
    for line in wanted:
        if not line.strip() or line.strip() == "…":
            continue
        while place < len(script) and not play.fits([line], [script[place]]):
            place += 1
        if place == len(script):
            return line
        place += 1
    return ""


def check_page(file: Path, world: World, environment: dict[str, str], explain: list[str]) -> int:
    """Do all that a page shows, and return how many commands, files and scripts that were.  Raises PageError.

    `explain` is the command that prints a script; a block's words are put behind it.
    """
    play, count = Play(world, environment), 0
    for block in blocks(file.read_text()):
        if block.kind == "console":
            play.play(block)
            count += len(typed(block))
        elif block.kind == "python" and block.info:
            text = (file.parent / block.info).read_text()
            if "\n".join(block.lines).strip() != text.strip():
                lines = difflib.unified_diff(block.lines, text.splitlines(), "the page", block.info, lineterm="")
                raise PageError(f"line {block.number}: it is not what {block.info} says\n" + "\n".join(lines))
            count += 1
        elif block.info.startswith("explain"):
            version, _, command = block.info.removeprefix("explain").partition(":")
            if version.strip() == "v1" and cgroup_version() != "v1":
                continue
            pretend = version.strip() == "v2" and cgroup_version() != "v2"
            before = ["unshare", "--mount", "sh", "-ec", LIKE_V2, "sh"] if pretend else []
            verb, *words = command.split()
            done = world.run([*before, *explain, verb, "--explain", *words], env=environment)
            if done.code:
                raise PageError(f"line {block.number}: {done.err}")
            if missing := in_order(block.lines, done.out.splitlines(), play):
                raise PageError(f"line {block.number}: the script has no line {missing!r} there:\n{done.out}")
            count += 1
    return count
