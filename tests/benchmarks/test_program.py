"""`python -m benchmarks` as a person calls it: once each, on a small tree.  No time is tested."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, eventually

QUICK = [sys.executable, "-m", "benchmarks", "--quick"]


def run(*words: str, before: "tuple[str, ...]" = ()) -> "subprocess.CompletedProcess[str]":
    """Run the program to its end.  Nothing of it may be left then: no file of its own, and no process."""
    program = subprocess.Popen(
        [*before, *QUICK, *words], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = program.communicate(timeout=300)
    assert scratch(program.pid) == []
    return subprocess.CompletedProcess(words, program.returncode, out, err)


def scratch(pid: int) -> list[str]:
    """The files that the program with this number has on the disk while it measures."""
    return [str(path) for path in Path("/var/tmp").glob(f"benchmarks-{pid}-*")]


def processes_below(pid: int) -> list[int]:
    """All processes that come from process `pid`, those in other pid namespaces too."""
    parents = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            fields = directory.joinpath("stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(directory.name)] = int(fields[1])
    found = [pid]
    for above in found:
        found += [child for child, parent in parents.items() if parent == above]
    return found


@pytest.mark.parametrize("group", ["starts", "lists", "growth", "commits"])
def test_each_group_measures_writes_and_cleans_up(group: str, tmp_path: Path) -> None:
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
    program = subprocess.Popen(
        [*QUICK, "growth", "--output", str(tmp_path / "results")],
        cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    assert program.stdout
    while not program.stdout.readline().startswith("with    3 containers"):
        assert program.poll() is None
    below = processes_below(program.pid)
    assert len(below) >= 3 + 3 and scratch(program.pid)  # three of the program, three containers
    os.killpg(program.pid, signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert program.returncode == 130 and "interrupted" in err and "Traceback" not in err, err
    assert not list((tmp_path / "results").glob("*")) and scratch(program.pid) == []
    eventually(lambda: not any(map(running, below)))


def running(pid: int) -> bool:
    try:
        return bool(os.readlink(f"/proc/{pid}/exe"))  # a zombie has none
    except OSError:
        return False
