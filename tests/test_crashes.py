"""Kills, signals and races: whatever happens to the runtime, `rm -f` and `reset` give the machine back.

strace kills the runtime with its own injection of signals, at the n-th call of a kind: the same points each time.
"""

import io
import json
import os
import re
import secrets
import signal
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, STAGES, Result, Stage, eventually

Chapter = Callable[[str], Stage]


def one_sentence(result: Result, code: int = 125) -> Result:
    """Exactly one line on standard error, no traceback, nothing on standard output."""
    assert result.code == code and result.out == "", result
    assert result.err.count("\n") == 1 and len(result.err) > 20 and "Traceback" not in result.err, result
    return result


def struck(zocker: Stage, fault: str, *words: str, follow: bool = False, timeout: float = 60) -> Result:
    """Run with a fault: `mount:signal=KILL:when=2` kills the runtime at its second mount.

    Several are parted by blanks.  With `follow` they also strike children and threads, each counting for itself.
    """
    faults = fault.split()
    calls = ",".join(each.partition(":")[0] for each in faults)
    trace = ["strace", "-o", os.devnull, *(["-f"] if follow else []), "-e", f"trace={calls}"]
    trace += [word for each in faults for word in ("-e", f"inject={each}")]
    command = [*trace, *(words if words[0].startswith("/") else zocker.command(*words))]
    done = subprocess.run(command, env=zocker.environment, capture_output=True, text=True, timeout=timeout)
    return Result(done.returncode, done.stdout, done.stderr)


def left(zocker: Stage) -> "list[str]":
    """What containers have left: layers, mount points, journals, records, mounts."""
    found = [f"{zocker.root}/{name}" for name in ("mnt", "writeLayer") if (zocker.root / name).exists()]
    for directory in (zocker.root / ".zocker/containers", zocker.root / ".zocker/work", zocker.root / ".zocker/old"):
        found += [str(path) for path in directory.glob("*")]
    found += [str(zocker.state)] if zocker.state.exists() else []
    lines = Path("/proc/self/mountinfo").read_text().split("\n")
    return found + [line for line in lines if f"{zocker.root}/" in line]


def processes(token: str) -> "list[int]":
    """The processes in whose command line the token is."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and token.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def given_back(zocker: Stage, how: str, name: str, token: str) -> None:
    """After a kill: `rm -f` (or reset) undoes everything, and the name is free again."""
    if how == "rm":
        done = zocker("rm", "-f", name)
        assert done.code == 0 or "there is no container" in one_sentence(done).err, done
    if how == "reset" or left(zocker):  # a container that was never begun has no name to remove it by
        assert how == "reset" or not (zocker.root / ".zocker/containers" / name / "journal").exists(), left(zocker)
        done_ = subprocess.run([STAGES, "reset"], env=zocker.environment, capture_output=True, text=True, timeout=30)
        assert done_.returncode == 0, done_
    assert left(zocker) == []
    eventually(lambda: processes(token) == [])
    assert zocker("run", "--name", name, "busybox", "echo", "works").lines == ["works"]
    assert left(zocker) == []


def calls_of_a_run(zocker: Stage, kind: str, *words: str) -> int:
    """How many calls of this kind the runtime makes."""
    trace = zocker.root.parent / "trace"
    subprocess.run(
        ["strace", "-o", str(trace), "-e", f"trace={kind}", *zocker.command(*words)],
        env=zocker.environment, check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return sum(1 for line in trace.read_text().splitlines() if line.startswith(f"{kind}("))


# --- kill -9 of the runtime --------------------------------------------------------------------------------------

KINDS = ["mkdir", "setxattr", "mount", "unshare", "clone3", "setns", "rename", "flock", "write"]


@pytest.mark.parametrize("mode", ["-d", "foreground"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_killed_anywhere_is_undone_by_rm(stage: Chapter, tmp_path: Path, kind: str, mode: str) -> None:
    """Each call of a kind in turn: SIGKILL there, then `rm -f`, and nothing is left."""
    zocker, token = stage("5.8"), secrets.token_hex(8)
    assert zocker("run", "busybox", "true").code == 0
    command = ["sh", "-c", f"sleep {1000 if mode == '-d' else 0.01}; : {token}"]
    words = [
        "run",
        *(["-d"] if mode == "-d" else []),
        "--name",
        "one",
        "-m",
        "100m",
        "-v",
        f"{tmp_path}/h:/v",
        "busybox",
        *command,
    ]
    if mode == "-d":
        number = calls_of_a_run(zocker, kind, "run", "-d", "--name", "one", *words[4:-3], "true")
        assert zocker("rm", "-f", "one").code == 0
    else:
        number = calls_of_a_run(zocker, kind, "run", "--name", "one", *words[3:-3], "true")
    assert number > 0
    for when in range(1, number + 1, 1 if number < 12 else 3):
        done = struck(zocker, f"{kind}:signal=KILL:when={when}", *words)
        assert done.code in (-9, 137), (when, done)
        given_back(zocker, "reset" if when % 3 == 0 else "rm", "one", token)


REMOVALS = ["umount2:when=1", "umount2:when=2", "rmdir:when=1", "rmdir:when=4", "unlink:when=1", "unlinkat:when=1"]


@pytest.mark.parametrize("fault", REMOVALS)
@pytest.mark.parametrize("verb", ["rm", "foreground"])
def test_a_removal_that_is_killed_is_finished_by_the_next(
    stage: Chapter, tmp_path: Path, fault: str, verb: str
) -> None:
    """rm, and the end of a foreground run, killed in the midst."""
    zocker, token = stage("5.8"), secrets.token_hex(8)
    assert zocker("run", "busybox", "true").code == 0
    kind, when = fault.split(":")
    options = ["--name", "one", "-v", f"{tmp_path}/h:/v", "busybox"]
    if verb == "rm":
        assert zocker("run", "-d", *options, "sh", "-c", f"touch /file; sleep 1000; : {token}").code == 0
        eventually((zocker.root / "writeLayer/one/file").exists)
        done = struck(zocker, f"{kind}:signal=KILL:{when}", "rm", "-f", "one")
    else:
        done = struck(zocker, f"{kind}:signal=KILL:{when}", "run", *options, "sh", "-c", f"touch /file; : {token}")
    assert done.code in (-9, 137), done
    (tmp_path / "h" / "precious").write_text("of the host")
    given_back(zocker, "rm", "one", token)
    assert (tmp_path / "h" / "precious").exists()


def test_a_runtime_killed_while_it_waits_takes_its_container_along(stage: Chapter) -> None:
    """kill -9 of the runtime in the foreground: the container doesn't outlive it, and rm removes it."""
    zocker, token = stage("5.8"), secrets.token_hex(8)
    runtime = zocker.start("run", "--name", "one", "busybox", "sh", "-c", f"while :; do sleep 0.05; done; : {token}")
    eventually((zocker.state / "one/config.json").exists)
    pid = zocker.pid("one")
    runtime.kill()
    runtime.communicate(timeout=10)
    eventually(lambda: token.encode() not in _cmdline(pid))
    given_back(zocker, "rm", "one", token)


def started(zocker: Stage) -> "list[int]":
    """The processes that the journals name."""
    lines = [
        json.loads(line)
        for journal in (zocker.root / ".zocker/containers").glob("*/journal")
        for line in journal.read_text().splitlines()
    ]
    return [line["pid"] for line in lines if "pid" in line]


def _alive(pid: int) -> bool:
    """It is there, and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("chapter", ["3.2", "4.2", "4.4", "5.1"])
def test_before_there_is_rm_the_next_run_clears_up(stage: Chapter, chapter: str) -> None:
    """Chapters without records: what a kill left is undone by the next run, and by reset."""
    program, token = stage(chapter), secrets.token_hex(8)
    assert program("run", "true").code == 0
    for fault in ("mount:signal=KILL:when=1", "clone,clone3:signal=KILL:when=1", "wait4:signal=KILL:when=1"):
        if chapter == "3.2" and fault.startswith("mount"):
            continue
        done = struck(program, fault, "run", "sh", "-c", f"sleep 0.05; : {token}")
        assert done.code in (-9, 137), done
        eventually(lambda: processes(token) == [] and not any(map(_alive, started(program))))
        assert program("run", "echo", "works").lines == ["works"]
        found = [path for path in left(program) if not path.endswith("/shared")]
        assert found == [], (fault, found)


# --- kill of the container's own process on its way in ---------------------------------------------------------------


@pytest.mark.parametrize("fault", ["setsid", "pivot_root", "mknodat:when=3", "dup3"])
@pytest.mark.parametrize("mode", ["-d", "foreground"])
def test_a_child_killed_on_its_way_in_leaves_nothing(stage: Chapter, fault: str, mode: str) -> None:
    """Out of memory, say: the container's process dies before it is the command."""
    zocker = stage("5.8")
    assert zocker("run", "busybox", "true").code == 0
    kind, _, when = fault.partition(":")
    inject = f"{kind}:signal=KILL" + (f":{when}" if when else "")
    words = ["run", *(["-d"] if mode == "-d" else []), "--name", "one", "busybox", "echo", "ran"]
    done = struck(zocker, inject, *words, follow=True)
    assert "ran" not in done.out and "Traceback" not in done.err, done
    assert done.code in (125, 137), done
    if left(zocker):
        assert zocker("rm", "one").code == 0
    assert left(zocker) == []


# --- commit ------------------------------------------------------------------------------------------------------------


def frozen(pid: int) -> bool:
    """One of the groups of the process is frozen."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        path = line.split(":", 2)[2]
        if "/zocker/" in path:
            for events in Path("/sys/fs/cgroup").glob(f"*{path}/cgroup.events"):
                if "frozen 1" in events.read_text():
                    return True
            for state in Path("/sys/fs/cgroup").glob(f"*{path}/freezer.state"):
                if "THAWED" not in state.read_text():
                    return True
    return False


@pytest.fixture
def committed(stage: Chapter) -> Stage:
    """A running container `one` and an image made of it, `image`."""
    zocker = stage("5.8")
    script = "trap 'echo asked; exit' TERM; echo old >/version; touch /ready; while :; do sleep 0.02; done"
    assert zocker("run", "-d", "--name", "one", "busybox", "sh", "-c", script).code == 0
    eventually((zocker.root / "writeLayer/one/ready").exists)
    assert zocker("commit", "one", "image").code == 0
    return zocker


@pytest.mark.parametrize("way", ["stop", "rm -f", "commit", "reset"])
def test_a_container_left_frozen_by_a_killed_commit_can_be_had_again(committed: Stage, way: str) -> None:
    """A frozen process does not notice signals: stop, rm and reset thaw first; the next commit thaws after it."""
    zocker = committed
    before = (zocker.root / "image.tar").read_bytes()
    done = struck(zocker, "readv:signal=KILL:when=3", "commit", "one", "image")
    assert done.code in (-9, 137), done
    pid = zocker.pid("one")
    assert frozen(pid), "the commit was killed at a point where nothing was frozen: the test tests nothing"
    assert (zocker.root / "image.tar").read_bytes() == before
    if way == "stop":
        assert zocker("stop", "-t", "5", "one", timeout=10).code == 0
        assert zocker("logs", "one").out == "asked\n"
        assert zocker("rm", "one").code == 0
    elif way == "rm -f":
        assert zocker("rm", "-f", "one", timeout=10).code == 0
    elif way == "reset":
        subprocess.run([STAGES, "reset"], env=zocker.environment, check=True, capture_output=True, timeout=10)
    else:
        assert zocker("commit", "one", "image").code == 0
        assert not frozen(pid) and zocker("exec", "one", "true").code == 0
        assert list((zocker.root / ".zocker/commit").iterdir()) == []
        assert zocker("rm", "-f", "one").code == 0
    assert left(zocker) == []


CUTS = ["readlinkat:when=99", "readv:when=2", "rename:when=1", "fdatasync:when=1", "write:when=1", "write:when=2"]


@pytest.mark.parametrize("kind", CUTS)
@pytest.mark.parametrize("number", ["KILL", "INT", "TERM"])
def test_a_commit_that_is_cut_short_leaves_the_old_image(committed: Stage, kind: str, number: str) -> None:
    """The image is the old one or the new one; after a signal that can be caught nothing stays frozen or half-made."""
    zocker = committed
    before = (zocker.root / "image.tar").read_bytes()
    assert zocker("exec", "one", "sh", "-c", "echo new >/version").code == 0
    call, when = kind.split(":")
    done = struck(zocker, f"{call}:signal={number}:{when}", "commit", "one", "image", follow=True)
    after = (zocker.root / "image.tar").read_bytes()
    if number == "KILL":
        assert done.code in (-9, 137) and after == before, done
        return
    assert done.code in (0, 128 + getattr(signal, f"SIG{number}")), done
    assert (after == before) == (done.code != 0)
    assert "Traceback" not in done.err and not frozen(zocker.pid("one"))
    assert list((zocker.root / ".zocker/commit").iterdir()) == []
    assert zocker("exec", "one", "cat", "/version").out == "new\n"


@pytest.mark.parametrize("second", ["unlink", "write:when=3"])
def test_who_asks_twice_does_not_cut_the_cleaning_up(committed: Stage, second: str) -> None:
    """The second request comes while the half-made tar is removed, or while it is told what happened."""
    call, _, when = second.partition(":")
    faults = f"fdatasync:signal=INT {call}:signal=TERM{':' + when if when else ''}"
    done = struck(committed, faults, "commit", "one", "image")
    assert done.code == 130 and "Traceback" not in done.err, done
    assert "interrupted: all is as it was before" in done.err
    assert list((committed.root / ".zocker/commit").iterdir()) == []


def test_who_is_interrupted_while_it_undoes_an_earlier_run_starts_nothing(stage: Chapter) -> None:
    zocker, token = stage("4.2"), secrets.token_hex(8)
    assert zocker("run", "busybox", "true").code == 0
    assert struck(zocker, "unshare:signal=KILL", "run", "busybox", "true").code in (-9, 137)
    assert any("/mnt " in line for line in left(zocker)), "it had mounted nothing: the test tests nothing"
    done = struck(zocker, "umount2:signal=INT:when=1", "run", "busybox", "sh", "-c", f"sleep 60; : {token}", timeout=10)
    assert done.code == 130, done
    assert processes(token) == []


@pytest.mark.parametrize("how", [[], ["-z"]])
def test_where_no_more_threads_are_allowed_a_commit_says_so(committed: Stage, how: list[str]) -> None:
    root = next(place for place in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")) if place.is_dir())
    group = root / f"one-{secrets.token_hex(4)}"
    group.mkdir()
    try:
        if not (group / "pids.max").exists():
            pytest.skip("the control groups here don't count processes: there is no pids.max")
        (group / "pids.max").write_text("1")
        before = (committed.root / "image.tar").read_bytes()
        enter = ["sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"]
        words = [*enter, *committed.command("commit", *how, "one", "image")]
        done = subprocess.run(words, env=committed.environment, capture_output=True, text=True, timeout=30)
    finally:
        group.rmdir()
    assert done.returncode == 125 and done.stderr.count("\n") == 1 and "one more thread" in done.stderr, done
    assert (committed.root / "image.tar").read_bytes() == before and not frozen(committed.pid("one"))


def test_a_commit_sees_no_half_done_write(stage: Chapter) -> None:
    """The container writes a pair of files, always alike: in no image do they differ."""
    zocker = stage("5.8")
    script = "i=0; while :; do i=$((i+1)); echo $i >/tmp/a; echo $i >/tmp/b; mv /tmp/a /a; mv /tmp/b /zz; done"
    assert zocker("run", "-d", "--name", "one", "busybox", "sh", "-c", script).code == 0
    eventually((zocker.root / "writeLayer/one/zz").exists)
    pid = zocker.pid("one")
    seen = set()
    for _ in range(6):
        assert zocker("commit", "one", "image").code == 0
        assert not frozen(pid)
        with tarfile.open(zocker.root / "image.tar") as tar:
            values = []
            for name in ("a", "zz"):  # the first and the last in it
                file = tar.extractfile(name)
                assert file
                values.append(int(file.read()))
        assert values[0] - values[1] in (0, 1), values  # between the two moves it may be stopped; never far apart
        seen.add(values[0])
    assert len(seen) > 1, "the container did not go on between the commits"


def test_an_image_can_be_replaced_while_containers_start_from_it(stage: Chapter) -> None:
    """Each run sees one whole image, the old or the new; who already runs keeps his layer."""
    zocker = stage("5.8")
    assert zocker("run", "-d", "--name", "one", "busybox", "sleep", "1000").code == 0
    write = "rm -rf /d; mkdir /d; for i in 0 1 2 3 4 5 6 7 8 9; do echo {} >/d/$i; done"
    assert zocker("exec", "one", "sh", "-c", write.format(0)).code == 0 and zocker("commit", "one", "image").code == 0
    assert zocker("run", "-d", "--name", "early", "image", "sleep", "1000").code == 0
    results: list[Result] = []
    stop = threading.Event()

    def runs() -> None:
        while not stop.is_set():
            results.append(zocker("run", "image", "sh", "-c", "cat /d/*"))

    threads = [threading.Thread(target=runs) for _ in range(3)]
    for thread in threads:
        thread.start()
    for version in range(1, 6):
        assert zocker("exec", "one", "sh", "-c", write.format(version)).code == 0
        assert zocker("commit", "one", "image").code == 0
    stop.set()
    for thread in threads:
        thread.join()
    for result in results:
        assert result.code == 0 and len(result.lines) == 10 and len(set(result.lines)) == 1, result
    assert len(results) > 3
    assert zocker("run", "image", "cat", "/d/3").out == "5\n"
    assert zocker("exec", "early", "sh", "-c", "cat /d/*").out == "0\n" * 10


# --- signals to the runtime ------------------------------------------------------------------------------------------------

POINTS = [
    "mkdir:when=3",
    "mkdir:when=6",
    "mount:when=1",
    "unshare:when=1",
    "clone,clone3:when=1",
    "setns:when=1",
    "flock:when=2",
]
POINTS += ["pipe2:when=1"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(("number", "mode"), [("INT", "-d"), ("TERM", "-d"), ("INT", "foreground")])
def test_a_signal_during_set_up_undoes_everything_or_nothing(
    stage: Chapter, point: str, number: str, mode: str
) -> None:
    """Ctrl-C or SIGTERM: either all is as before and it says so, or the container runs as asked for."""
    zocker, token = stage("5.8"), secrets.token_hex(8)
    assert zocker("run", "busybox", "true").code == 0
    words = ["run", *(["-d"] if mode == "-d" else []), "--name", "one", "busybox", "sh", "-c", f"sleep 0.05; : {token}"]
    call, when = point.split(":")
    done = struck(zocker, f"{call}:signal={number}:{when}", *words)
    assert "Traceback" not in done.err, done
    if done.code == 0:
        assert mode == "foreground" or done.out == "one\n"
        assert mode == "foreground" or zocker("rm", "-f", "one").code == 0
    else:
        assert done.code == 128 + getattr(signal, f"SIG{number}"), done
        assert done.err.count("\n") <= 1 and done.out == "", done
    assert left(zocker) == []
    eventually(lambda: processes(token) == [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_while_it_waits_ends_the_container_and_undoes_it(stage: Chapter, number: signal.Signals) -> None:
    """A PID 1 without a handler would never notice: it is ended all the same."""
    zocker, token = stage("5.8"), secrets.token_hex(8)
    runtime = zocker.start("run", "--name", "one", "busybox", "sleep", "1000", stdin=subprocess.DEVNULL)
    eventually((zocker.state / "one/config.json").exists)
    eventually(lambda: b"sleep" in _cmdline(zocker.pid("one")))
    runtime.send_signal(number)
    out, err = runtime.communicate(timeout=10)
    assert runtime.returncode == 128 + number and b"Traceback" not in err and out == b"", (out, err)
    assert left(zocker) == [] and processes(token) == []


def test_a_signal_that_the_container_handles_is_the_containers(stage: Chapter) -> None:
    """SIGTERM goes on to a PID 1 with a handler, and its exit code comes back."""
    zocker = stage("5.8")
    script = "trap 'echo asked; exit 5' TERM; echo ready; while :; do sleep 0.02; done"
    runtime = zocker.start("run", "--name", "one", "busybox", "sh", "-c", script)
    assert runtime.stdout is not None
    assert runtime.stdout.readline() == b"ready\n"
    runtime.terminate()
    out, _ = runtime.communicate(timeout=10)
    assert (runtime.returncode, out) == (5, b"asked\n") and left(zocker) == []


def test_a_signal_right_after_fork_never_makes_the_child_clear_up(stage: Chapter, tmp_path: Path) -> None:
    """Ctrl-C reaches the whole group: the child, a copy of the runtime, must not undo what the runtime still uses."""
    zocker = stage("5.8")
    assert zocker("run", "busybox", "true").code == 0
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(CHECKOUT)!r})\n"
        "from stages.kernel import birth\n"
        "fork = birth.fork\n"
        "def fork_and_signal(group):\n"
        "    pid, born_in = fork(group)\n"
        "    if pid == 0:\n"
        "        os.kill(os.getpid(), 2)\n"
        "    return pid, born_in\n"
        "birth.fork = fork_and_signal\n"
        "from stages.launch import main\n"
        "sys.exit(main('stage_5_8_env', sys.argv[1:], 'zocker'))\n"
    )
    python = "/usr/bin/python3"
    done = subprocess.run(
        [python, "-IS", str(driver), "run", "-d", "--name", "one", "busybox", "sleep", "1000"],
        env=zocker.environment, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\n", ""), done  # PID 1 does not notice it
    assert (zocker.root / "mnt/one/bin").is_dir() and (zocker.root / ".zocker/containers/one/journal").exists()
    assert zocker("exec", "one", "true").code == 0
    assert zocker("rm", "-f", "one").code == 0
    assert left(zocker) == []


# --- many at once --------------------------------------------------------------------------------------------------------------


def at_once(zocker: Stage, commands: "list[list[str]]") -> "list[Result]":
    """Start all, then wait for all; the results in the order of the commands."""
    started = [zocker.start(*words, stdin=subprocess.DEVNULL) for words in commands]
    results = []
    for process in started:
        out, err = process.communicate(timeout=60)
        results.append(Result(process.returncode, out.decode(), err.decode()))
    return results


def test_of_twenty_who_want_one_name_exactly_one_gets_it(stage: Chapter, root: Path) -> None:
    """20 parallel `run --name same`: the others are refused in a sentence and harm nothing."""
    zocker = stage("5.8")
    run = ["run", "-d", "--name", "same", "busybox", "sh", "-c"]
    results = at_once(zocker, [[*run, f"echo {n} >/me; sleep 1000"] for n in range(20)])
    winners = [number for number, result in enumerate(results) if result.code == 0]
    assert len(winners) == 1, results
    for number, result in enumerate(results):
        if number != winners[0]:
            assert "same" in one_sentence(result).err
    assert results[winners[0]].out == "same\n"
    eventually((root / "writeLayer/same/me").exists)
    assert zocker("exec", "same", "cat", "/me").out == f"{winners[0]}\n"
    assert len([line for line in zocker("ps").lines if " same " in line]) == 1
    assert zocker("rm", "-f", "same").code == 0 and left(zocker) == []


def test_twenty_first_runs_unpack_the_image_once(stage: Chapter, root: Path) -> None:
    """Different names, one image that is not there yet: it is made and unpacked once, and all see all of it."""
    zocker = stage("5.8")
    script = "ls /bin | wc -l; sleep 1000"
    results = at_once(zocker, [["run", "-d", "--name", f"n{n}", "busybox", "sh", "-c", script] for n in range(20)])
    assert [(result.code, result.err) for result in results] == [(0, "")] * 20, results
    for n in range(20):
        eventually(lambda n=n: zocker("logs", f"n{n}").out)
    assert len({zocker("logs", f"n{n}").out for n in range(20)}) == 1
    lower = {line.split("lowerdir=")[1].split(",")[0] for line in left(zocker) if "lowerdir=" in line}
    assert lower == {f"{root}/busybox"}
    assert not list((root / ".zocker/old").glob("*")), "the image was unpacked more than once"
    done = at_once(zocker, [["rm", "-f", f"n{n}"] for n in range(20)])
    assert [(result.code, result.err) for result in done] == [(0, "")] * 20, done
    assert left(zocker) == []


@pytest.mark.parametrize("chapter", ["4.2", "5.2", "5.8"])
def test_many_short_runs_at_once_do_not_trip_over_each_other(stage: Chapter, chapter: str) -> None:
    """Each makes and removes the directories that they share; none finds them gone in between."""
    program = stage(chapter)
    image = ["busybox"] if chapter == "5.8" else []
    assert program("run", *image, "true").code == 0
    for _ in range(3):
        results = at_once(program, [["run", *image, "echo", str(n)] for n in range(12)])
        assert [(result.code, result.out, result.err) for result in results] == [
            (0, f"{n}\n", "") for n in range(12)
        ], results
    assert [path for path in left(program) if not path.endswith("/shared")] == []


@pytest.mark.parametrize("words", [["rm", "one"], ["rm", "-f", "one"]])
def test_a_removal_while_the_container_is_set_up_waits_for_it(stage: Chapter, words: "list[str]") -> None:
    """rm sees it running and refuses; rm -f ends it; neither takes half of it away."""
    zocker, token = stage("5.8"), secrets.token_hex(8)
    assert zocker("run", "busybox", "true").code == 0
    slow = ["strace", "-o", os.devnull, "-e", "trace=mount", "-e", "inject=mount:delay_enter=400000"]
    run = subprocess.Popen(
        [*slow, *zocker.command("run", "-d", "--name", "one", "busybox", "sh", "-c", f"sleep 1000; : {token}")],
        env=zocker.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    eventually((zocker.root / ".zocker/containers/one/journal").exists)
    eventually((zocker.root / "mnt/one").exists)
    assert run.poll() is None, "it is set up already: the test tests nothing"
    removed = zocker(*words)
    out, err = run.communicate(timeout=20)
    assert (run.returncode, out, err) == (0, b"one\n", b"")
    if words == ["rm", "one"]:
        assert "running" in one_sentence(removed).err
        assert zocker("exec", "one", "true").code == 0
        assert zocker("rm", "-f", "one").code == 0
    else:
        assert removed.code == 0, removed
    assert left(zocker) == []
    eventually(lambda: processes(token) == [])


def test_a_reboot_leaves_containers_that_can_be_listed_and_removed(stage: Chapter, root: Path, state: Path) -> None:
    """After a reboot /var/run is empty, no mount is there, and pids mean others: the journal is enough."""
    zocker = stage("5.8")
    assert zocker("run", "-d", "--name", "one", "busybox", "sh", "-c", "echo x >/file; sleep 1000").code == 0
    eventually((root / "writeLayer/one/file").exists)
    pid = zocker.pid("one")
    groups = [line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: _cmdline(pid) == b"")
    eventually(lambda: subprocess.run(["umount", str(root / "mnt/one")], capture_output=True).returncode == 0)
    for group in {group for group in groups if "/zocker/" in group}:
        for directory in Path("/sys/fs/cgroup").glob(f"*{group}"):
            eventually(lambda directory=directory: directory.rmdir() is None if not _procs(directory) else False)
    for file in (state / "one").iterdir():
        file.unlink()
    (state / "one").rmdir()
    state.rmdir()
    stranger = subprocess.Popen(["sleep", "1000"])  # who has the number now
    stat = Path(f"/proc/{stranger.pid}/stat").read_text()
    journal = root / ".zocker/containers/one/journal"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        if "boot" in line:
            line["boot"] = secrets.token_hex(16)
        if "pid" in line:
            line.update(pid=stranger.pid, start_time=int(stat.rpartition(")")[2].split()[19]))
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        assert re.search(r"\bone\b.*\bexited\b", zocker("ps").out)
        one_sentence(zocker("exec", "one", "true"))
        one_sentence(zocker("commit", "one", "image"))
        assert zocker("stop", "-t", "0", "one").code == 0
        assert (root / "writeLayer/one/file").exists()
        assert zocker("rm", "-f", "one").code == 0 and left(zocker) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def _procs(directory: Path) -> str:
    try:
        return (directory / "cgroup.procs").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize(
    "fault", ["rename:when=1", "rename:when=2", "chroot:when=1", "renameat2:when=1", "unlinkat:when=5"]
)
def test_a_kill_while_an_image_is_replaced_loses_neither_copy(stage: Chapter, root: Path, fault: str) -> None:
    """Killed while it is made, unpacked, exchanged, or the old copy removed: the next run sees the tarball as it is now."""
    zocker = stage("5.8")
    if not fault.startswith("rename:"):  # those are for the very first run
        assert zocker("run", "busybox", "true").code == 0
        with tarfile.open(root / "busybox.tar", "a") as tar:
            member = tarfile.TarInfo("version")
            member.size = 4
            tar.addfile(member, io.BytesIO(b"new\n"))
    call, when = fault.split(":")
    done = struck(zocker, f"{call}:signal=KILL:{when}", "run", "busybox", "true", follow=call == "chroot")
    assert done.code in ((-9, 137) if call != "chroot" else (125, 137)), done
    subprocess.run([STAGES, "reset"], env=zocker.environment, check=True, capture_output=True)
    for chapter, image in (("5.8", ["busybox"]), ("4.2", []), ("4.1", [])):
        program = stage(chapter)
        if fault.startswith("rename:"):
            assert program("run", *image, "echo", "works").lines == ["works"]
        else:
            assert program("run", *image, "cat", "/version").out == "new\n", chapter
    with tarfile.open(root / "busybox.tar", "a") as tar:  # and it is not taken for one made by hand
        tar.addfile(tarfile.TarInfo("later"))
    for chapter, image in (("4.1", []), ("5.8", ["busybox"])):
        assert stage(chapter)("run", *image, "ls", "/later").code == 0, chapter
    assert zocker("run", "busybox", "true").code == 0
    assert not list((root / ".zocker/old").glob("*"))
