"""Packing a container as an image, and unpacking an image, beside `tar`, `pigz` and `zstd`."""

import os
import shutil
import statistics
from pathlib import Path

from benchmarks import place, tree
from benchmarks.bench import CHECKOUT, ZOCKER, Bench
from benchmarks.pairs import Contender, Refused, Result, Taken, Words, medians, ratios
from benchmarks.plot import Plot

GROUP = "commits"
LAYERS, IMAGES = (1, 3, 10, 30, 100, 300), (30, 100, 300, 1000)  # MiB, for the plot
TOUCHED = 1  # MiB: how much a container has written, where nothing else is said

# Commits as ever, and does not wait for the disk: there is no such option.
UNSYNCED = """
import os, sys
os.fdatasync = lambda fd: None
sys.path.insert(0, sys.argv[1])
from stages.start import start
os._exit(start(["zocker", *sys.argv[2:]]))
"""
UNPACK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from stages.kernel.unpack import unpack
unpack(*sys.argv[2:])
os._exit(0)
"""


def measure(bench: Bench) -> None:
    """Measure all of the group."""
    bench.big_image()
    _packed_image(bench)
    _in_memory(bench)
    _on_disk(bench)
    _unpack(bench)
    _grow(bench)
    bench.zocker("rm", "-f", "changed")
    shutil.rmtree(bench.root / "images", ignore_errors=True)


def _packed_image(bench: Bench) -> None:
    """The image `packed`, of gzip members, and on it the container `changed`, in which a little was written."""
    bench.zocker("run", "-d", "--name", "whole", "big", "sleep", "10000")
    bench.zocker("commit", "-z", "whole", "packed")
    bench.zocker("rm", "-f", "whole")
    _start(bench, "changed", "packed", TOUCHED)


def _start(bench: Bench, name: str, image: str, mebibytes: int) -> None:
    """A container in which so much was written: new files, each of 64 KiB, and some of the image's are gone."""
    bench.zocker("run", "-d", "--name", name, image, "sleep", "10000")
    view = bench.root / "mnt" / name
    new = view / "new"
    new.mkdir()
    for number in range(mebibytes * 16):
        (new / str(number)).write_bytes(os.urandom(32 << 10) + b"words   " * (4 << 10))
    for gone in sorted(view.glob("d1/*/*"))[:3]:
        gone.unlink()


def _in_memory(bench: Bench) -> None:
    """All ways in turn, on a tmpfs, where there is nothing to wait for: so these are without fsync."""
    view = str(bench.root / "mnt" / "changed")

    def to(file: str, name: str, words: Words) -> Contender:
        return _to(bench.root / file, name, words)

    contenders = [
        to("plain.tar", "commit", [ZOCKER, "commit", "changed", "plain"]),
        to("same.tar", "commit -z --reproducible", [ZOCKER, "commit", "-z", "--reproducible", "changed", "same"]),
        to("full.tar", "commit -z of all", _of_all(["commit", "-z", "changed", "full"])),
        to("next.tar", "commit -z from an image", [ZOCKER, "commit", "-z", "changed", "next"]),
        to("theirs.tar", "tar -cf", _tar(bench, view, "-cf", "theirs.tar")),
        to("theirs.tgz", "tar -czf", _tar(bench, view, "-czf", "theirs.tgz")),
        to("theirs.packed", "tar | pigz -1", _piped(bench, view, "pigz", "-1")),
        to("theirs.packed", "tar | zstd -T0 -1", _piped(bench, view, "zstd", "-T0", "-1", "-q")),
    ]
    _in_turn(
        bench, "in memory", contenders,
        [
            ("commit", "tar -cf", 0.7),
            ("commit -z of all", "tar -czf", 0.08), ("commit -z of all", "tar | pigz -1", 0.25),
            ("commit -z from an image", "tar -czf", 0.025), ("commit -z from an image", "tar | pigz -1", 0.08),
            ("commit -z from an image", "tar | zstd -T0 -1", None),
            ("commit -z --reproducible", "tar -czf", None),
        ],
    )  # fmt: skip
    sizes = {name: os.path.getsize(bench.root / name) for name in ("full.tar", "next.tar", "same.tar", "theirs.tgz")}
    told = ", ".join(f"{name} {size / sizes['theirs.tgz']:.3f}" for name, size in sizes.items())
    bench.found(GROUP, "size, as a part of tar -czf's (goal 1.16)", told)


def _on_disk(bench: Bench) -> None:
    """The same on a disk, once each waiting until all is written, and once not."""
    root = place.DISK / "root"
    root.mkdir(exist_ok=True)
    shutil.copy(bench.root / "packed.tar", root / "packed.tar")
    there = ["env", f"ZOCKER_ROOT={root}"]
    try:
        bench.watch.run([*there, ZOCKER, "run", "-d", "--name", "ondisk", "packed", "sleep", "10000"])
        (root / "mnt/ondisk/new").write_bytes(os.urandom(TOUCHED << 20))
        tar = ["tar", "-C", f"{root}/mnt/ondisk", "-cf", f"{root}/theirs.tar", "."]
        pigz = f"tar -C {root}/mnt/ondisk -c . | pigz -1 >{root}/theirs.tgz"
        unsynced = [*there, "/usr/bin/python3", "-ISc", UNSYNCED, str(CHECKOUT), "commit"]
        contenders = [
            _to(root / "plain.tar", "commit", [*there, ZOCKER, "commit", "ondisk", "plain"]),
            _to(root / "next.tar", "commit -z from an image", [*there, ZOCKER, "commit", "-z", "ondisk", "next"]),
            _to(root / "plain.tar", "commit, unsynced", [*unsynced, "ondisk", "plain"]),
            _to(root / "next.tar", "commit -z from an image, unsynced", [*unsynced, "-z", "ondisk", "next"]),
            _to(root / "theirs.tar", "tar -cf; sync", ["sh", "-c", '"$@" && sync "$0"', f"{root}/theirs.tar", *tar]),
            _to(root / "theirs.tar", "tar -cf", tar),
            _to(root / "theirs.tgz", "tar | pigz -1; sync", ["sh", "-c", f"{pigz} && sync {root}/theirs.tgz"]),
            _to(root / "theirs.tgz", "tar | pigz -1", ["sh", "-c", pigz]),
        ]
        _in_turn(
            bench, "on disk", contenders,
            [
                ("commit", "tar -cf; sync", None), ("commit, unsynced", "tar -cf", None),
                ("commit -z from an image", "tar | pigz -1; sync", None),
                ("commit -z from an image, unsynced", "tar | pigz -1", None),
            ],
            rounds=5,
        )  # fmt: skip
    except Refused as refused:
        bench.found(GROUP, "on disk", f"given up: {refused}")
    finally:
        bench.watch.run([*there, ZOCKER, "rm", "-f", "ondisk"])
        shutil.rmtree(root, ignore_errors=True)


def _unpack(bench: Bench) -> None:
    """Unpacking into memory: an image of ours, one that `tar -czf` made, one that is not packed."""
    directory = str(bench.root / "unpacked")
    fresh = ("rm", "-rf", directory), ("mkdir", directory)
    for name, goal in (("plain.tar", 1.0), ("full.tar", 0.4), ("theirs.tgz", 0.4)):
        file = str(bench.root / name)
        ours = ["/usr/bin/python3", "-ISc", UNPACK, str(CHECKOUT), file, directory]
        before = tuple(map(list, fresh))
        bench.pair(
            GROUP, f"unpack {name}",
            Contender("zocker", ours, before), Contender("tar -xf", ["tar", "-C", directory, "-xf", file], before),
            goal,
        )  # fmt: skip
    shutil.rmtree(directory)


def _grow(bench: Bench) -> None:
    """How a commit from an image grows with the layer, and with the image."""
    times: dict[str, list[tuple[float, float]]] = {
        "layer, image of 300 MiB": [], "image, layer of 1 MiB": [], "image, tar | pigz -1": [],
    }  # fmt: skip
    layer, image, pigz = times.values()
    commit = _to(bench.root / "next.tar", "", [ZOCKER, "commit", "-z", "grown", "next"])
    for mebibytes in LAYERS[:2] if bench.quick else LAYERS:
        _start(bench, "grown", "packed", mebibytes)
        layer.append((mebibytes, _median(bench, commit)))
        bench.zocker("rm", "-f", "grown")
    for mebibytes in IMAGES[:2] if bench.quick else IMAGES:
        name = f"size{mebibytes}"
        tree.make(bench.root / "busybox", bench.root / f"{name}.tar", mebibytes, mebibytes * 45)
        bench.zocker("run", "-d", "--name", "whole", name, "sleep", "10000")
        bench.zocker("commit", "-z", "whole", name)
        bench.zocker("rm", "-f", "whole")
        _start(bench, "grown", name, TOUCHED)
        image.append((mebibytes, _median(bench, commit)))
        by_pigz = _piped(bench, str(bench.root / "mnt" / "grown"), "pigz", "-1")
        if not bench.program("pigz"):
            pigz.append((mebibytes, _median(bench, _to(bench.root / "theirs.packed", "", by_pigz), 1)))
        bench.zocker("rm", "-f", "grown")
        (bench.root / f"{name}.tar").unlink()
        shutil.rmtree(bench.root / name)
    times = {name: line for name, line in times.items() if line}
    for name, line in times.items():
        bench.say(f"{name}: " + ", ".join(f"{x} MiB {y:.0f} ms" for x, y in line))
    bench.plots.append(Plot("commits", "commit -z from an image, in memory", "MiB of what grows", "ms", times))


def _median(bench: Bench, one: Contender, rounds: int = 7) -> float:
    times = []
    for _ in range(1 if bench.quick else rounds):
        place.reap()
        times.append(bench.watch.take(one).wall * 1000)
    return statistics.median(times)


def _of_all(words: Words) -> Words:
    """A commit that finds no index of its image, so that nothing can be copied."""
    hide = 'mv "$ZOCKER_ROOT/.zocker/images/packed.index" "$ZOCKER_ROOT/.zocker/hidden"'
    back = 'mv "$ZOCKER_ROOT/.zocker/hidden" "$ZOCKER_ROOT/.zocker/images/packed.index"'
    return ["sh", "-c", f'{hide}; "$@"; code=$?; {back}; exit $code', "sh", ZOCKER, *words]


def _tar(bench: Bench, view: str, how: str, name: str) -> Words:
    return ["tar", "-C", view, how, str(bench.root / name), "."]


def _piped(bench: Bench, view: str, *packer: str) -> Words:
    return [
        "sh",
        "-c",
        'view=$1; shift; tar -C "$view" -c . | "$@" >"$0"',
        str(bench.root / "theirs.packed"),
        view,
        *packer,
    ]


def _to(output: Path, name: str, words: Words) -> Contender:
    """A contender that finds its output removed, as the first time.

    For a virtual machine memory that was never used is dear, and what was just given back is not: to write a file aside and
    rename it would pay for the first, to write over a file would have the second.
    """
    return Contender(name, words, before=(["rm", "-f", str(output)],))


def _in_turn(
    bench: Bench,
    where: str,
    contenders: list[Contender],
    pairs: list[tuple[str, str, float | None]],
    rounds: int = 0,
) -> None:
    """Time all of them in turn, and show these pairs of them.  So the slowest is waited for once, and not for each pair."""
    missing = {packer: why for packer in ("pigz", "zstd") if (why := bench.program(packer))}
    absent = {one.name: why for one in contenders for packer, why in missing.items() if f"| {packer}" in one.name}
    there = [one for one in contenders if one.name not in absent]
    rounds = 1 if bench.quick else rounds or bench.rounds
    taken: dict[str, list[Taken]] = {one.name: [] for one in there}
    for number in range(rounds + 1):
        for one in there:
            place.reap()
            if number:
                taken[one.name].append(bench.watch.take(one))
            else:
                bench.watch.run(one.words)
    peaks = {one.name: bench.watch.peak(one) for one in there}
    for ours, theirs, goal in pairs:
        if theirs in absent:
            bench.refused(GROUP, f"{ours}, {where}", theirs, absent[theirs])
            continue
        result = Result(GROUP, f"{ours}, {where}", "zocker", theirs, rounds, goal=goal)
        walls, cpus = zip(medians(taken[ours]), medians(taken[theirs]), strict=True)
        result.wall, result.cpu, result.memory = walls, cpus, (peaks[ours], peaks[theirs])
        for key, value in ratios(taken[ours], taken[theirs]).items():
            setattr(result, key, value)
        bench.add(result)
