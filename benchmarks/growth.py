"""Many containers: fifty started at once, how the times grow from one to a thousand, and what a detached one costs."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import place
from benchmarks.bench import CHECKOUT, ZOCKER, Bench
from benchmarks.pairs import Contender
from benchmarks.plot import Plot
from benchmarks.starts import SLEEP

GROUP = "growth"
STEPS = (1, 3, 10, 30, 100, 300, 1000)
WORKERS = 4  # processes that start containers in process, each with half a processor's time on two


def measure(bench: Bench) -> None:
    """Measure all of the group."""
    bench.zocker("run", "busybox", "true")
    _at_once(bench)
    _kept(bench)
    _grow(bench)
    _in_process(bench)


def _at_once(bench: Bench) -> None:
    """Fifty programs at once, each with a container of its own."""
    number = 3 if bench.quick else 50
    cpu, start = bench.watch.cpu_time(), time.perf_counter()
    programs = [
        subprocess.Popen(
            [ZOCKER, "run", "busybox", "echo", f"{n}"], env=bench.watch.environment, stdout=subprocess.PIPE
        )
        for n in range(number)
    ]
    said = [(program.communicate()[0], program.returncode) for program in programs]
    wall, cpu = time.perf_counter() - start, bench.watch.cpu_time() - cpu
    right = sum(answer == (b"%d\n" % n, 0) for n, answer in enumerate(said))
    each = f"{wall / number * 1000:.1f} ms of wall and {cpu / number * 1000:.1f} ms of CPU time each"
    bench.found(GROUP, f"{number} started at once", f"{right} of {number} did what they were to; {each}")


def _kept(bench: Bench) -> None:
    """What stays of the runtime beside a detached container: all processes but the container's own are counted."""
    before = _others()
    for number in range(10):
        bench.zocker("run", "-d", "--name", f"n{number}", "busybox", *SLEEP)
    place.reap()
    left = _others() - before
    bench.zocker("rm", "-f", *(f"n{number}" for number in range(10)))
    bench.found(GROUP, "kept for 10 detached containers", f"{len(left)} processes of the runtime")


def _others() -> set[int]:
    """The processes here that run something else than the command of a container."""
    found = set()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if directory.joinpath("cmdline").read_bytes() != b"\0".join(map(str.encode, SLEEP)) + b"\0":
                found.add(int(directory.name))
        except OSError:
            continue  # it has ended
    return found


def _grow(bench: Bench) -> None:
    """What each verb takes when so many containers run."""
    times: dict[str, list[tuple[float, float]]] = {"run true": [], "run -d": [], "exec true": [], "ps": [], "rm -f": []}
    have = 0
    steps = STEPS[:3] if bench.quick else STEPS
    for number in steps:
        for each in range(have, number):
            bench.zocker("run", "-d", "--name", f"n{each}", "busybox", *SLEEP)
        have = number
        extra = [ZOCKER, "run", "-d", "--name", "extra", "busybox", *SLEEP]
        away = [ZOCKER, "rm", "-f", "extra"]
        verbs = {
            "run true": Contender("zocker", [ZOCKER, "run", "busybox", "true"]),
            "run -d": Contender("zocker", extra, after=(away,)),
            "exec true": Contender("zocker", [ZOCKER, "exec", "n0", "true"]),
            "ps": Contender("zocker", [ZOCKER, "ps"]),
            "rm -f": Contender("zocker", away, before=(extra,)),
        }
        for verb, contender in verbs.items():
            place.reap()
            taken = [bench.watch.take(contender).wall * 1000 for _ in range(1 if bench.quick else 10)]
            times[verb].append((number, statistics.median(taken)))
        bench.say(f"with {number:4} containers: " + ", ".join(f"{v} {line[-1][1]:.1f} ms" for v, line in times.items()))
    bench.zocker("rm", "-f", *(f"n{each}" for each in range(have)))
    bench.plots.append(
        Plot("growth", "How the times grow with the number of containers", "containers that run", "ms", times)
    )


def _in_process(bench: Bench) -> None:
    """Containers from a Python program, with no command line and no new interpreter: see `stages/library.py`."""
    number = 8 if bench.quick else 1000
    for name, goal, words in (("run true", 200, ["busybox", "true"]), ("run -d", 0, ["-d", "busybox", *SLEEP])):
        cpu, start = bench.watch.cpu_time(), time.perf_counter()
        command = [sys.executable, "-IS", "-c", IN_PROCESS, str(CHECKOUT), str(number // WORKERS), *words]
        workers = [subprocess.Popen(command, env=bench.watch.environment) for _ in range(WORKERS)]
        codes = [worker.wait() for worker in workers]
        wall, cpu = time.perf_counter() - start, bench.watch.cpu_time() - cpu
        says = f"{number / wall:.0f} a second, {cpu / number * 1000:.1f} ms of CPU time each"
        if goal:
            says += f" (goal: {goal} a second)"
        else:
            says += f"; {len(os.listdir(bench.watch.environment['ZOCKER_STATE']))} are there at once"
        bench.found(GROUP, f"{number} in process, {name}", says + (f"; ended with {codes}" if any(codes) else ""))
    names = os.listdir(bench.watch.environment["ZOCKER_STATE"])
    bench.zocker("rm", "-f", *names)


IN_PROCESS = """
import os, sys
sys.path.insert(0, sys.argv[1])
from stages import library
places = library.places(os.environ["ZOCKER_ROOT"], os.environ["ZOCKER_STATE"])
for _ in range(int(sys.argv[2])):
    code = library.run(places, sys.argv[3:])
    if code:
        sys.exit(code)
"""
