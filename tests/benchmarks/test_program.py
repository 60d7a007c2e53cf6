"""`python -m benchmarks` as a person calls it: once each, on a small tree.  No time is tested."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

QUICK = [sys.executable, "-m", "benchmarks", "--quick"]


def left() -> set[str]:
    """What measuring could leave on the machine."""
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()}
    return {str(path) for path in Path("/var/tmp").glob("benchmarks-*")} | {m for m in mounts if "benchmarks" in m}


def run(*words: str, before: "tuple[str, ...]" = ()) -> "subprocess.CompletedProcess[str]":
    words = (*before, *QUICK, *words)
    return subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("group", ["starts", "lists", "growth", "commits"])
def test_each_group_measures_writes_and_cleans_up(group: str, tmp_path: Path) -> None:
    before = left()
    done = run(group, "--output", str(tmp_path / "results"))
    assert done.returncode == 0 and done.stderr == "", done
    found = json.loads((tmp_path / "results/results.json").read_text())
    assert found["machine"]["processors"] == os.cpu_count() and found["machine"]["rounds"] == 1
    assert {result["group"] for result in found["results"]} == {group}
    measured = [result for result in found["results"] if not result["says"]]
    assert all(result["ratio"] > 0 and min(result["wall"]) > 0 and min(result["memory"]) > 0 for result in measured)
    for result in found["results"]:
        assert "zocker refused" not in result["says"] and "ours" not in result["says"]
        assert result["name"] in done.stdout
    assert (tmp_path / "results/growth.svg").exists() == (group == "growth")
    assert left() == before


def test_a_peer_that_is_not_installed_is_said_to_be_missing(tmp_path: Path) -> None:
    """With none of the peers at hand ours is still measured, and each of the others has a reason."""
    peers = ("crun", "runc", "podman", "docker", "dockerd", "bwrap", "containerd")
    files = [f"{place}/{peer}" for place in ("/usr/local/bin", "/usr/bin", "/usr/sbin") for peer in peers]
    hide = 'until [ "$1" = -- ]; do mount --bind /dev/null "$1"; shift; done; shift; exec "$@"'
    hidden = [file for file in files if os.path.exists(file)]
    before = ("unshare", "-m", "--propagation", "private", "sh", "-ec", hide, "sh", *hidden, "--")
    done = run("starts", "--output", str(tmp_path / "results"), before=before)
    assert done.returncode == 0, done
    for program in ("crun", "runc", "bwrap"):
        assert f"{program} is not installed" in done.stdout
    for engine in ("podman needs podman and runc", "docker needs docker and dockerd and containerd and runc"):
        assert f"{engine}, not to be found on this machine" in done.stdout
    assert "the bare start of Python" in done.stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nothing"], "there is no group 'nothing': there are starts, lists, growth, commits"),
        (["--rounds"], "--rounds"),
    ],
)
def test_bad_words_are_refused_in_a_sentence(words: list[str], reason: str) -> None:
    done = run(*words)
    assert done.returncode == 2 and reason in done.stderr and done.stdout == ""


def test_a_place_that_can_not_be_written_to_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("lists", "--output", str(tmp_path / "file"))
    assert done.returncode == 1 and "file" in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""


def test_without_root_it_says_so(tmp_path: Path) -> None:
    words = ["setpriv", "--reuid=65534", "--clear-groups", "--", sys.executable, "-m", "benchmarks", "lists"]
    done = subprocess.run(
        words,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1 and "needs root" in done.stderr and done.stderr.count("\n") == 1


def test_ctrl_c_ends_all_of_it_and_leaves_nothing(tmp_path: Path) -> None:
    before = left()
    program = subprocess.Popen(
        [*QUICK, "growth", "--output", str(tmp_path / "results")],
        cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    assert program.stdout
    while "started at once" not in program.stdout.readline():
        assert program.poll() is None
    os.killpg(program.pid, signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert program.returncode == 130 and "interrupted" in err and "Traceback" not in err, err
    assert not list((tmp_path / "results").glob("*")) and left() == before
    deadline = time.monotonic() + 10
    while any(part.startswith("sleep 10000") for part in _commands()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _commands() -> list[str]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            found.append(directory.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
