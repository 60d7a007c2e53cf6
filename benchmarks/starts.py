"""Starting, joining, stopping and removing one container, beside what people use for it."""

import json
import subprocess
from pathlib import Path

from benchmarks import engines, place
from benchmarks.bench import COLD, WARM, ZOCKER, Bench
from benchmarks.pairs import Contender, Refused

GROUP = "starts"
NAME = "bench"
SLEEP = ("sleep", "10000")
ENDS_WHEN_ASKED = ["sh", "-c", "trap 'exit 0' TERM; sleep 10000 & wait"]
DIRTY = ["sh", "-c", "dd if=/dev/zero of=/big bs=1M count={} 2>/dev/null; echo written"]

# What a person would do by hand to run a command on a layer of its own: union, runtime, and away with it.
BY_HAND = """
set -e
d=$(mktemp -d -p "$1")
trap 'cd /; umount "$d/rootfs"; rm -rf "$d"' EXIT
mkdir "$d/upper" "$d/work" "$d/rootfs"
mount -t overlay overlay -o "lowerdir=$1/busybox,upperdir=$d/upper,workdir=$d/work" "$d/rootfs"
cp "$1/config.json" "$d/"
cd "$d"
"$2" run "bench${d##*.}" </dev/null
"""
ENGINES = ("podman", "docker")
RUN_GOALS = {"podman": 0.12, "docker": 0.08}


def measure(bench: Bench) -> None:
    """Measure all pairs of the group."""
    bench.zocker("run", "busybox", "true")
    _run(bench)
    _big(bench)
    _exec(bench)
    _life(bench)
    _dirty_end(bench)


def _run(bench: Bench) -> None:
    ours = Contender("zocker", [ZOCKER, "run", "busybox", "true"])
    for runtime, goal in (("runc", 0.5), ("crun", 0.8)):
        if why := bench.program(runtime):
            bench.refused(GROUP, "run true", f"overlay by shell + {runtime}", why)
            continue
        write_bundle(bench, runtime)
        theirs = Contender(f"overlay by shell + {runtime}", ["sh", "-c", BY_HAND, "sh", str(bench.root), runtime])
        for side in (COLD, WARM):
            bench.pair(GROUP, "run true", ours, theirs, goal, side)
    for engine in ENGINES:
        if why := bench.program(engine):
            bench.refused(GROUP, "run true", f"{engine} run --rm", why)
            continue
        theirs = Contender(f"{engine} run --rm", [engine, "run", "--rm", *network(engine), "busybox", "true"])
        bench.pair(GROUP, "run true", ours, theirs, RUN_GOALS[engine], COLD)
    image = str(bench.root / "busybox")
    less = {
        "bwrap": ["--unshare-all", "--ro-bind", image, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true"],
        "unshare": ["--ipc", "--uts", "--net", "--pid", "--mount", "--fork", "chroot", image, "/bin/true"],
        "/usr/bin/python3": ["-IS", "-c", "pass"],
    }
    for program, words in less.items():
        name = f"{program}: no layer, group or record" if program[0] != "/" else "the bare start of Python"
        if why := bench.program(program):
            bench.refused(GROUP, "run true", name, why)
            continue
        bench.pair(GROUP, "run true", ours, Contender(name, [program, *words]), side=COLD)


def write_bundle(bench: Bench, runtime: str, command: tuple[str, ...] = ("true",), root: str = "rootfs") -> None:
    """Write the config.json of a runtime whose container runs this command in this root directory."""
    file = bench.root / "config.json"
    file.unlink(missing_ok=True)
    subprocess.run([runtime, "spec"], cwd=bench.root, check=True)
    spec = json.loads(file.read_text())
    spec["process"]["terminal"] = False
    spec["process"]["args"] = list(command)
    spec["root"]["path"] = root
    file.write_text(json.dumps(spec))


def network(engine: str) -> list[str]:
    """Podman was told to make no network; Docker is told so at each start, since ours makes none either."""
    return ["--network", "none"] if engine == "docker" else []


def _big(bench: Bench) -> None:
    bench.big_image()
    bench.zocker("run", "big", "true")
    big, small = ([ZOCKER, "run", image, "true"] for image in ("big", "busybox"))
    bench.pair(
        GROUP, "run true, image of 300 MiB", Contender("zocker", big), Contender("ours from busybox", small), 1.1
    )


def _exec(bench: Bench) -> None:
    bench.zocker("run", "-d", "--name", NAME, "busybox", *SLEEP)
    ours = Contender("zocker", [ZOCKER, "exec", NAME, "true"])
    pid = json.loads(Path(bench.watch.environment["ZOCKER_STATE"], NAME, "config.json").read_text())["pid"]
    by_hand = ["nsenter", "-t", pid, "-i", "-u", "-n", "-p", "-m", "/bin/true"]
    bench.pair(GROUP, "exec true", ours, Contender("nsenter", by_hand))
    _exec_crun(bench, ours)
    for engine in ENGINES:
        if why := bench.program(engine):
            bench.refused(GROUP, "exec true", f"{engine} exec", why)
            continue
        try:
            bench.watch.run([engine, "run", "-d", "--name", NAME, *network(engine), "busybox", *SLEEP])
            theirs = Contender(f"{engine} exec", [engine, "exec", NAME, "true"])
            bench.pair(GROUP, "exec true", ours, theirs, 0.2 if engine == "docker" else None, COLD)
            bench.watch.run(engines.away(engine, [NAME]))
        except Refused as refused:
            bench.refused(GROUP, "exec true", f"{engine} exec", f"{engine} refused: {refused}")
    bench.zocker("rm", "-f", NAME)


def _exec_crun(bench: Bench, ours: Contender) -> None:
    if why := bench.program("crun"):
        return bench.refused(GROUP, "exec true", "crun exec", why)
    write_bundle(bench, "crun", SLEEP, str(bench.root / "busybox"))
    try:
        bench.watch.run(["crun", "run", "--detach", "--bundle", str(bench.root), NAME])
        bench.pair(GROUP, "exec true", ours, Contender("crun exec", ["crun", "exec", NAME, "true"]), 1.5, COLD)
        bench.watch.run(["crun", "delete", "--force", NAME])
    except Refused as refused:
        bench.refused(GROUP, "exec true", "crun exec", f"crun refused: {refused}")


def _life(bench: Bench) -> None:
    """run -d, stop and rm, each with what it takes before and after done untimed."""
    for engine in ENGINES:
        if why := bench.program(engine):
            bench.refused(GROUP, "run -d, stop, rm", engine, why)
            continue
        start, stop, rm = {}, {}, {}
        for program, extra in ((ZOCKER, []), (engine, network(engine))):
            run = [program, "run", "-d", "--name", NAME, *extra, "busybox", *ENDS_WHEN_ASKED]
            start[program], stop[program], rm[program] = run, [program, "stop", NAME], [program, "rm", NAME]
        away = {program: engines.away(program, [NAME]) for program in (ZOCKER, engine)}
        ours, theirs = (Contender(_named(p), start[p], after=(away[p],)) for p in (ZOCKER, engine))
        bench.pair(GROUP, "run -d", ours, theirs, side=COLD)
        ours, theirs = (Contender(_named(p), stop[p], before=(start[p],), after=(away[p],)) for p in (ZOCKER, engine))
        bench.pair(GROUP, "stop", ours, theirs)
        ours, theirs = (Contender(_named(p), rm[p], before=(start[p], stop[p])) for p in (ZOCKER, engine))
        bench.pair(GROUP, "rm", ours, theirs)


def _named(program: str) -> str:
    return program.rpartition("/")[2]


def _dirty_end(bench: Bench) -> None:
    """How long it takes from the command's end until all is gone, when it has written much, on the disk."""
    name, other = "end with 300 MiB written, on the disk", "docker run --rm"
    if why := bench.program("docker"):
        return bench.refused(GROUP, name, other, why)
    command = [word.format(2 if bench.quick else 300) for word in DIRTY]
    ours = ["env", f"ZOCKER_ROOT={place.DISK}/root", f"ZOCKER_STATE={place.DISK}/state", ZOCKER]
    (place.DISK / "root").mkdir(exist_ok=True)
    (place.DISK / "docker").mkdir(exist_ok=True)
    try:
        bench.watch.run([*ours, "run", "busybox", "true"])
        docker = engines.docker_on(place.DISK / "docker", bench.watch, bench.root / "busybox.tar")
    except Refused as refused:
        return bench.refused(GROUP, name, other, f"it refused: {refused}")
    theirs = Contender(other, [*docker, "run", "--rm", *network("docker"), "busybox", *command], ends=True)
    bench.pair(GROUP, name, Contender("zocker", [*ours, "run", "busybox", *command], ends=True), theirs, 0.1)
