"""What the groups of measurements share: where they are, how often they measure, and what came out so far."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import engines, place, tree
from benchmarks.pairs import Contender, Result, Stopwatch, compare
from benchmarks.plot import Plot
from harness.world import ENVIRONMENT

CHECKOUT = Path(__file__).resolve().parent.parent
ZOCKER = str(CHECKOUT / "bin" / "zocker")
PAUSE = 0.1  # seconds after which the kernel is back on the slow side of the first write to a cgroup.procs

COLD = "after a pause"
WARM = "right after another move"


@dataclass
class Bench:
    """One run of the benchmarks.  `quick`: one round on a small tree, to see that all of it works."""

    quick: bool
    say: Callable[[str], None]
    results: list[Result] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    watch: Stopwatch = field(init=False)

    def __post_init__(self) -> None:
        places = {
            "ZOCKER_ROOT": f"{place.MEMORY}/root",
            "ZOCKER_STATE": f"{place.MEMORY}/state",
            "HOME": str(place.MEMORY),
        }
        path = {"PATH": ENVIRONMENT["PATH"]}  # daemons are in sbin, which is not in everybody's
        self.watch = Stopwatch({**os.environ, **path, **places}, place.cpu_time)
        self._answering: dict[str, str] = {}
        Path(places["ZOCKER_ROOT"]).mkdir(parents=True, exist_ok=True)

    @property
    def rounds(self) -> int:
        """How many times each of a pair is timed."""
        return 1 if self.quick else 20

    @property
    def root(self) -> Path:
        """Where our images and layers are: in memory."""
        return Path(self.watch.environment["ZOCKER_ROOT"])

    def zocker(self, *words: str) -> None:
        """Do something with ours, untimed.  Raises Refused."""
        self.watch.run([ZOCKER, *words])

    def pair(
        self, group: str, name: str, ours: Contender, theirs: Contender, goal: float | None = None, side: str = ""
    ) -> None:
        """Measure a pair, and show what came out.  `side` says on which side of the slow first move each time is."""
        settle = {"": place.reap, COLD: _pause, WARM: _move}[side]
        named = f"{name}, {side}" if side else name
        result = Result(group, named, ours.name, theirs.name, self.rounds, goal=goal)
        self.add(compare(self.watch, result, ours, theirs, settle))

    def add(self, result: Result) -> None:
        """Keep a result, and show it."""
        self.results.append(result)
        self.say(row(result))

    def engine(self, name: str) -> str:
        """Have Podman or Docker answer; returns why not, empty when it does."""
        if name not in self._answering:
            self.zocker("run", "busybox", "true")  # makes the image
            self._answering[name] = engines.start(name, self.watch, self.root / "busybox.tar")
        return self._answering[name]

    def program(self, name: str) -> str:
        """Why a peer can't be measured: it is not installed, or doesn't answer; empty when it can."""
        if name in ("podman", "docker"):
            return self.engine(name)
        found = shutil.which(name, path=self.watch.environment["PATH"])
        return "" if found else f"{name} is not installed"

    def refused(self, group: str, name: str, theirs: str, why: str) -> None:
        """Say of a pair why it was not measured."""
        self.add(Result(group, f"{name} / {theirs}", "zocker", theirs, 0, says=why))

    def found(self, group: str, name: str, says: str) -> None:
        """Say what was found that is no pair."""
        self.add(Result(group, name, "zocker", "", 1, says=says))

    def big_image(self) -> None:
        """The image `big`, a tree of many files, in memory."""
        if not (self.root / "big.tar").exists():
            self.zocker("run", "busybox", "true")
            mebibytes, files = (2, 100) if self.quick else (tree.MEBIBYTES, tree.FILES)
            tree.make(self.root / "busybox", self.root / "big.tar", mebibytes, files)


def _pause() -> None:
    place.reap()
    time.sleep(PAUSE)


def _move() -> None:
    """Move a process from its control group to the same one: whoever moves one soon after does not wait."""
    place.reap()
    if file := place.group_to_move_in():
        file.write_text("0")


HEADER = (
    f"{'ours / theirs':58} {'ms':>8} {'ms':>8}  {'ratio (middle half)':20} {'goal':>5}  {'cpu ms':>7} {'cpu ms':>7} {'ratio':>5}"
    f"  {'MiB':>5} {'MiB':>5}"
)


def row(result: Result) -> str:
    """A result as a line of the table."""
    if result.says:
        return f"{result.name:58} {result.says}"
    name = f"{result.name} / {result.theirs}"
    goal = f"{result.goal:g}" if result.goal else ""
    middle = f"{result.ratio:.3f} ({result.low:.3f}-{result.high:.3f})"
    return (
        f"{name:58} {result.wall[0]:8.1f} {result.wall[1]:8.1f}  {middle:20} {goal:>5}  {result.cpu[0]:7.1f} {result.cpu[1]:7.1f}"
        f" {result.cpu_ratio:5.2f}  {result.memory[0]:5.1f} {result.memory[1]:5.1f}"
    )
