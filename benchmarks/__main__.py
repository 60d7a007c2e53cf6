"""Measures ours beside the tools that are installed here; prints a table, and writes it as JSON, with a plot."""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import commits, growth, lists, machine, place, starts
from benchmarks.bench import HEADER, Bench
from benchmarks.pairs import Refused
from benchmarks.plot import svg
from harness.errors import WorldError
from harness.subtree import Subtree

GROUPS: dict[str, Callable[[Bench], None]] = {
    "starts": starts.measure,
    "lists": lists.measure,
    "growth": growth.measure,
    "commits": commits.measure,
}
FOUND = "found.json"


def main(words: list[str]) -> int:
    """Measure, and return the exit code: 1 when this machine can't, 130 when it was interrupted."""
    asked = _asked(words)
    output = Path(asked.output)
    try:
        if os.geteuid() != 0:
            raise Refused("this needs root, since it makes containers: put `sudo` in front")
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"benchmarks-{os.getpid()}-", dir="/var/tmp") as disk:
            code = _measured(asked.groups, asked.quick, Path(disk))
            if code == 0:
                _keep(Path(disk, FOUND), output)
    except (Refused, WorldError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        code = 130
    if code == 130:
        print("benchmarks: interrupted: nothing was written, and all is as it was before", file=sys.stderr)
    return code


def _asked(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures ours beside crun, runc, podman, docker, bwrap, unshare, tar, pigz and zstd, as far as they are"
        " installed: in turn, 20 times each. Takes minutes, wants a quiet machine, and leaves nothing behind but its output.",
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)}; without any: all of them")
    parser.add_argument("--output", metavar="DIRECTORY", default="benchmark-results", help="default: %(default)s")
    parser.add_argument(
        "--quick", action="store_true", help="once each, on a small tree: shows only that all of it works"
    )
    asked = parser.parse_args(words)
    for name in asked.groups:
        if name not in GROUPS:
            parser.error(f"there is no group {name!r}: there are {', '.join(GROUPS)}")
    asked.groups = asked.groups or list(GROUPS)
    return asked


def _measured(groups: list[str], quick: bool, disk: Path) -> int:
    """Measure in a place of our own; what was found is then in the file FOUND on the disk."""
    subtree = Subtree()
    try:
        return place.inside(subtree, disk, lambda: _measure(groups, quick))
    finally:
        subtree.remove()


def _measure(groups: list[str], quick: bool) -> int:
    here = machine.describe(place.DISK)
    for line in machine.in_words(here):
        print(line)
    print(f"in memory, where nothing else is said\n\n{HEADER}", flush=True)
    bench = Bench(quick, lambda line: print(line, flush=True))
    here["rounds"] = bench.rounds
    for name in groups:
        try:
            GROUPS[name](bench)
        except Refused as refused:
            print(f"{name}: given up: {refused}", flush=True)
            return 1
    here["load_at_the_end"] = round(os.getloadavg()[0], 2)
    found = {
        "machine": here,
        "results": [dataclasses.asdict(result) for result in bench.results],
        "plots": {plot.name: svg(plot) for plot in bench.plots},
    }
    (place.DISK / FOUND).write_text(json.dumps(found))
    return 0


def _keep(file: Path, output: Path) -> None:
    """Write what was found into the output directory: the JSON, and each plot."""
    found = json.loads(file.read_text())
    written = [output / "results.json"]
    for name, picture in found.pop("plots").items():
        written.append(output / f"{name}.svg")
        written[-1].write_text(picture)
    written[0].write_text(json.dumps(found, indent=1) + "\n")
    print("\nwritten: " + ", ".join(map(str, written)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
