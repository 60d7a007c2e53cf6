"""Times whole commands in turn (A B A B ...), so that a machine whose speed drifts is as unkind to one as to the other."""

import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

Words = list[str]


class Refused(Exception):
    """A command did not work on this machine.  One sentence: what it said."""


@dataclass(frozen=True)
class Contender:
    """A command that is timed.

    `before` is run, untimed, before each time, and `after` after it.  With `ends` the command is to print a line, and only what
    is behind that line is timed.
    """

    name: str
    words: Words
    before: tuple[Words, ...] = ()
    after: tuple[Words, ...] = ()
    ends: bool = False


@dataclass(frozen=True)
class Taken:
    """What one run took: seconds of wall clock, seconds of all processors, daemons' included."""

    wall: float
    cpu: float


@dataclass
class Result:
    """What came out of a pair, in milliseconds, mebibytes and ratios; `low` and `high` bound the middle half of the ratios.

    `says` is what is to be said instead: why it could not be measured, or what was found that is no pair.
    """

    group: str
    name: str
    ours: str
    theirs: str
    rounds: int
    wall: tuple[float, float] = (0, 0)
    cpu: tuple[float, float] = (0, 0)
    memory: tuple[float, float] = (0, 0)
    ratio: float = 0
    low: float = 0
    high: float = 0
    cpu_ratio: float = 0
    goal: float | None = None
    says: str = ""


def ratios(ours: list[Taken], theirs: list[Taken]) -> dict[str, float]:
    """The median of the ratios of wall time, pair by pair, the bounds of their middle half, and the median of those of CPU."""
    walls = [a.wall / b.wall for a, b in zip(ours, theirs, strict=True)]
    cpus = [a.cpu / b.cpu for a, b in zip(ours, theirs, strict=True) if b.cpu]
    low, middle, high = statistics.quantiles(walls, n=4, method="inclusive") if len(walls) > 1 else walls * 3
    return {"ratio": middle, "low": low, "high": high, "cpu_ratio": statistics.median(cpus) if cpus else 0.0}


def medians(taken: list[Taken]) -> tuple[float, float]:
    """The medians of wall and CPU time, in milliseconds."""
    return statistics.median(t.wall for t in taken) * 1000, statistics.median(t.cpu for t in taken) * 1000


class Stopwatch:
    """Runs commands and says what they took.  `environment` is what they get; `cpu_time` how the time of all processors is read."""

    def __init__(self, environment: dict[str, str], cpu_time: Callable[[], float]) -> None:
        self.environment, self.cpu_time = environment, cpu_time
        # No pipe: whoever is detached may keep it open.
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (it stays open)

    def run(self, words: Words) -> None:
        """Run a command to its end, untimed.  Raises Refused."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": self.errors}
        self._check(words, subprocess.run(words, env=self.environment, check=False, **streams).returncode)  # type: ignore[call-overload]

    def take(self, contender: Contender) -> Taken:
        """Time it once.  Raises Refused."""
        for words in contender.before:
            self.run(words)
        taken = self._time_the_end(contender.words) if contender.ends else self._time(contender.words)
        for words in contender.after:
            self.run(words)
        return taken

    def _time(self, words: Words) -> Taken:
        cpu, ours, start = self.cpu_time(), _our_cpu(), time.perf_counter()
        process = subprocess.Popen(
            words, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors
        )
        code = process.wait()
        wall = time.perf_counter() - start
        self._check(words, code)
        return Taken(wall, max(0.0, self.cpu_time() - cpu - (_our_cpu() - ours)))

    def _time_the_end(self, words: Words) -> Taken:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": self.errors}
        process = subprocess.Popen(words, env=self.environment, **streams)  # type: ignore[call-overload]
        assert process.stdout
        process.stdout.readline()
        cpu, start = self.cpu_time(), time.perf_counter()
        code = process.wait()
        wall = time.perf_counter() - start
        process.stdout.close()
        self._check(words, code)
        return Taken(wall, max(0.0, self.cpu_time() - cpu))

    def _check(self, words: Words, code: int) -> None:
        self.errors.seek(0)
        said = last_line(self.errors.read())
        self.errors.seek(0)
        self.errors.truncate()
        if code:
            raise Refused(said or f"`{' '.join(words[:3])}` ended with {code}")

    def peak(self, contender: Contender) -> float:
        """The peak of the resident memory, in MiB, of the largest process of one run.  We have to be PID 1, or a subreaper.

        A child of ours would inherit our own peak through its first moments. So a shell starts it in the background and
        ends, and it is ours to wait for.  getrusage(2)
        """
        usage = None
        while not usage:
            for words in contender.before:
                self.run(words)
            shell = subprocess.run(
                ["sh", "-c", '"$@" </dev/null >/dev/null 2>&1 & echo $!', "sh", *contender.words],
                env=self.environment, check=True, stdout=subprocess.PIPE,
            )  # fmt: skip
            with suppress(ChildProcessError):  # it ended before the shell, which has waited for it then: once more
                usage = os.wait4(int(shell.stdout), 0)[2]
            for words in contender.after:
                self.run(words)
        return usage.ru_maxrss / 1024


def _our_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def last_line(text: str) -> str:
    """The last line of what a program said, which mostly says why."""
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""


def compare(
    watch: Stopwatch,
    result: Result,
    ours: Contender,
    theirs: Contender,
    settle: Callable[[], None] = lambda: None,
) -> Result:
    """Fill in `result`: run both in turn, once before uncounted.  `settle` is called before each time, untimed.

    When one of them doesn't work, `says` tells which and why.
    """
    figures: tuple[list[Taken], list[Taken]] = ([], [])
    running = ours
    try:
        for number in range(result.rounds + 1):
            for running, into in zip((ours, theirs), figures, strict=True):
                settle()
                taken = watch.take(running)
                if number:
                    into.append(taken)
        peaks = []
        for running in (ours, theirs):
            peaks.append(watch.peak(running))
    except Refused as refused:
        result.says = f"{running.name} refused: {refused}"
        return result
    walls, cpus = zip(*map(medians, figures), strict=True)
    result.wall, result.cpu, result.memory = walls, cpus, (peaks[0], peaks[1])
    for key, value in ratios(*figures).items():
        setattr(result, key, value)
    return result
