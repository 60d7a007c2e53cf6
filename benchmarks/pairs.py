"""Times whole commands in turn (A B A B ...), so that a machine whose speed drifts is as unkind to one as to the other."""

import os
import resource
import statistics
import subprocess
import time


class Figures:
    """What came out: medians in milliseconds of wall and CPU time, and the middle half of the ratios pair by pair."""

    def __init__(self, ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> None:
        self.ours = [statistics.median(column) * 1000 for column in zip(*ours, strict=True)]
        self.theirs = [statistics.median(column) * 1000 for column in zip(*theirs, strict=True)]
        self.wall = _quartiles([a[0] / b[0] for a, b in zip(ours, theirs, strict=True)])
        self.cpu = _quartiles([a[1] / b[1] for a, b in zip(ours, theirs, strict=True)])

    def row(self, name: str) -> str:
        """One line of the table."""
        low, middle, high = self.wall
        return (
            f"{name:58} {self.ours[0]:8.1f} {self.theirs[0]:8.1f}   {middle:5.2f} ({low:.2f}-{high:.2f})   "
            f"{self.ours[1]:7.1f} {self.theirs[1]:7.1f}   {self.cpu[1]:5.2f}"
        )


HEADER = (
    f"{'ours beside theirs':58} {'ms':>8} {'ms':>8}   {'ratio (middle half)':19}   {'cpu ms':>7} {'cpu ms':>7}   ratio"
)


def compare(ours: list[str], theirs: list[str], rounds: int, environment: dict[str, str]) -> Figures:
    """Run both `rounds` times in turn, once before uncounted.  Raises CalledProcessError when one fails."""
    figures: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for number in range(rounds + 1):
        for command, into in zip((ours, theirs), figures, strict=True):
            taken = _time(command, environment)
            if number:
                into.append(taken)
    return Figures(*figures)


def _time(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(
        command, env={**os.environ, **environment}, check=True, stdin=subprocess.DEVNULL, capture_output=True
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return low, middle, high
