"""Listing containers: one, a hundred, a thousand."""

from benchmarks import engines
from benchmarks.bench import ZOCKER, Bench
from benchmarks.pairs import Contender, Refused
from benchmarks.starts import SLEEP, network

GROUP = "lists"


def measure(bench: Bench) -> None:
    """Measure all pairs of the group."""
    few, many = (2, 4) if bench.quick else (100, 1000)
    bench.zocker("run", "busybox", "true")
    ours = Contender("zocker", [ZOCKER, "ps"])
    have = 0
    for number in (1, few):
        have = _run(bench, have, number)
        bench.pair(GROUP, f"ps of {number}", ours, Contender("ps -e", ["ps", "-e"]))
    for engine in ("podman", "docker"):
        if why := bench.program(engine):
            bench.refused(GROUP, f"ps of {few}", f"{engine} ps", why)
            continue
        try:
            for number in range(few):
                bench.watch.run([engine, "run", "-d", "--name", f"n{number}", *network(engine), "busybox", *SLEEP])
            theirs = Contender(f"{engine} ps", [engine, "ps", "-a"])
            bench.pair(GROUP, f"ps of {few}", ours, theirs, 0.3 if engine == "docker" else None)
        except Refused as refused:
            bench.refused(GROUP, f"ps of {few}", f"{engine} ps", f"{engine} refused: {refused}")
        bench.watch.run(engines.away(engine, [f"n{number}" for number in range(few)]))
    _many(bench, few, many)


def _run(bench: Bench, have: int, number: int) -> int:
    for each in range(have, number):
        bench.zocker("run", "-d", "--name", f"n{each}", "busybox", *SLEEP)
    return number


def _many(bench: Bench, few: int, many: int) -> None:
    """`ps` of many beside `ps` of few, in two states of one root."""
    state = bench.watch.environment["ZOCKER_STATE"]
    beside = ["env", f"ZOCKER_ROOT={bench.root}2", f"ZOCKER_STATE={state}2", ZOCKER]
    bench.watch.run(["mkdir", "-p", f"{bench.root}2"])
    for number in range(many):
        bench.watch.run([*beside, "run", "-d", "--name", f"n{number}", "busybox", *SLEEP])
    theirs = Contender(f"ours, ps of {few}", ["env", "A=1", "B=2", ZOCKER, "ps"])
    bench.pair(GROUP, f"ps of {many}", Contender("zocker", [*beside, "ps"]), theirs, 4)
    for program, number in ((beside, many), ([ZOCKER], few)):
        bench.watch.run([*program, "rm", "-f", *(f"n{each}" for each in range(number))])
