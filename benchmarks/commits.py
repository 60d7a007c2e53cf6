"""Packing a container as an image, beside `tar`."""

from benchmarks.bench import ZOCKER, Bench
from benchmarks.pairs import Contender

GROUP = "commits"


def measure(bench: Bench) -> None:
    """Measure all pairs of the group."""
    bench.big_image()
    bench.zocker("run", "-d", "--name", "bench", "big", "sleep", "10000")
    tar = ["tar", "-C", f"{bench.root}/mnt/bench", "-cf", f"{bench.root}/theirs.tar", "."]
    bench.pair(
        GROUP, "commit", Contender("zocker", [ZOCKER, "commit", "bench", "ours"]), Contender("tar -cf", tar), 0.7
    )
    bench.zocker("rm", "-f", "bench")
