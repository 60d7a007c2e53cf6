"""Defects 8 to 19 of the tutorial's programs: containers that would not end, records that lied, output that was lost."""

import fcntl
import json
import os
import secrets
import signal
import subprocess
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Result, Stage, eventually

Chapter = Callable[[str], Stage]


def refused(result: Result, code: int = 125) -> Result:
    """The program refused: that exit code, one sentence, nothing on standard output."""
    assert result.code == code, result
    assert result.err.count("\n") == 1 and result.err.endswith("\n"), result
    assert "Traceback" not in result.err and len(result.err) > 20, result
    assert result.out == "", result
    return result


def row(zocker: Stage, name: str) -> "list[str]":
    """The container's line in ps, as words; empty when it isn't listed."""
    return next((line.split() for line in zocker("ps").lines[1:] if name in line.split()[1:2]), [])


def status(zocker: Stage, name: str) -> str:
    """running, stopped or exited, as ps has it."""
    return next((word for word in row(zocker, name) if word in ("running", "stopped", "exited")), "not listed")


def alive(pid: int) -> bool:
    """The process is there, and not only as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def detached(zocker: Stage, name: str, *command: str, options: "tuple[str, ...]" = ()) -> int:
    """Run a detached container and return its PID 1 as the host counts it."""
    done = zocker("run", "-d", "--name", name, *options, "busybox", *(command or ("sleep", "1000")))
    assert (done.code, done.out) == (0, f"{name}\n"), done
    return zocker.pid(name)


def unpacking(root: Path) -> "list[str]":
    """What unpacking images has left half-made or replaced."""
    return [str(path) for name in ("unpack", "old") for path in (root / ".zocker" / name).glob("*")]


# --- 8: stop ---------------------------------------------------------------------------------------------


def test_stop_ends_a_pid_1_that_has_no_handler_for_sigterm(stage: Chapter, root: Path) -> None:
    """Defect 8: stop left such a PID 1 alive, and rm then deleted the layers under it."""
    zocker = stage("5.8")
    pid = detached(zocker, "one")
    mine = os.readlink(f"/proc/{pid}/ns/pid")
    assert mine != os.readlink("/proc/self/ns/pid")
    done = zocker("stop", "one", timeout=8)  # it is of no use to wait ten seconds for such a one
    assert done.code == 0, done
    assert not alive(pid)
    assert row(zocker, "one")[2] == "stopped"  # and so the PID column is empty


def test_stop_lets_a_handler_finish_and_kills_what_does_not_end(stage: Chapter) -> None:
    """Defect 8: SIGTERM first; who does not end in time is killed."""
    zocker = stage("5.8")
    script = "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.02; done"
    deaf = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done"
    pids = [detached(zocker, "polite", "sh", "-c", script), detached(zocker, "deaf", "sh", "-c", deaf)]
    for name in ("polite", "deaf"):
        eventually(lambda name=name: "ready" in zocker("logs", name).out)
    assert zocker("stop", "-t", "1", "polite", "deaf").code == 0
    assert not any(alive(pid) for pid in pids)
    assert [zocker("logs", name).out for name in ("polite", "deaf")] == ["ready\nasked\n"] * 2
    assert [status(zocker, name) for name in ("polite", "deaf")] == ["stopped"] * 2


def test_rm_does_not_touch_a_running_container(stage: Chapter, root: Path, state: Path) -> None:
    """Defect 8: rm deleted the layers under a process that lived."""
    zocker = stage("5.8")
    pid = detached(zocker, "one", "sh", "-c", "echo mine >/file; sleep 1000")
    file = root / "writeLayer/one/file"
    eventually(file.exists)
    assert "running" in refused(zocker("rm", "one")).err
    assert alive(pid) and file.read_text() == "mine\n" and (state / "one/config.json").exists()
    assert zocker("exec", "one", "cat", "/file").out == "mine\n"
    assert zocker("rm", "-f", "one").code == 0
    assert not alive(pid) and not (root / "writeLayer").exists() and not state.exists()


# --- 9: a container that ended by itself --------------------------------------------------------------------


@pytest.mark.parametrize("removal", [["rm"], ["rm", "-f"], ["stop", "then rm"]])
def test_a_container_that_ended_by_itself_is_exited_and_can_be_removed(
    stage: Chapter, root: Path, state: Path, removal: "list[str]"
) -> None:
    """Defect 9: it stayed "running" and could be neither stopped nor removed."""
    zocker = stage("5.8")
    detached(zocker, "one", "sh", "-c", "touch /file; exit 3")
    eventually(lambda: status(zocker, "one") == "exited")
    assert len(row(zocker, "one")) == 11  # ID NAME STATUS sh -c touch /file; exit 3 DATE TIME, and no PID
    if removal[0] == "stop":
        assert zocker("stop", "one").code == 0
        removal = ["rm"]
    assert (root / "writeLayer/one/file").exists()
    assert zocker(*removal, "one", timeout=10).code == 0
    assert row(zocker, "one") == [] and not (root / "writeLayer").exists() and not state.exists()
    refused(zocker("rm", "-f", "one"))


def test_a_zombie_is_not_running(stage: Chapter, state: Path) -> None:
    """Defect 9: a PID 1 that has ended and that its parent has not waited for yet is dead."""
    zocker = stage("5.8")
    foreground = zocker.start("run", "--name", "one", "busybox", "sleep", "1000")
    eventually((state / "one/config.json").exists)
    pid = zocker.pid("one")
    home = os.open(zocker.root / ".zocker/containers/one", os.O_RDONLY)
    fcntl.flock(home, fcntl.LOCK_EX)  # until it is set up, the runtime holds this lock
    os.close(home)
    os.kill(foreground.pid, signal.SIGSTOP)  # its parent is the runtime, which can't reap it now
    try:
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        assert status(zocker, "one") == "exited"
        refused(zocker("exec", "one", "true"))
        assert zocker("rm", "one").code == 0
    finally:
        os.kill(foreground.pid, signal.SIGCONT)
        foreground.communicate(timeout=10)
    assert foreground.returncode == 137


@pytest.mark.parametrize("forgery", ["pid", "start time", "boot"])
def test_another_process_with_the_same_number_is_never_touched(
    stage: Chapter, root: Path, state: Path, tmp_path: Path, forgery: str
) -> None:
    """Defects 1 and 9: after a while, or a reboot, a pid stands for somebody else."""
    zocker, token = stage("5.8"), tmp_path / secrets.token_hex(8)
    detached(zocker, "one")
    innocent = subprocess.Popen(["unshare", "-p", "-f", "--kill-child", "sleep", "1000"])
    try:
        config, journal = state / "one/config.json", root / ".zocker/containers/one/journal"
        record = json.loads(config.read_text())
        if forgery == "boot":
            changed = {"pid": record["pid"], "start_time": record["start_time"], "boot_id": secrets.token_hex(16)}
        elif forgery == "pid":
            os.kill(int(record["pid"]), signal.SIGKILL)
            # Not even in the same tick of 10 ms: there the test would be unjust.
            changed = {"pid": str(innocent.pid), "start_time": record["start_time"] - 1, "boot_id": record["boot_id"]}
        else:
            changed = {"pid": record["pid"], "start_time": record["start_time"] - 1, "boot_id": record["boot_id"]}
        config.write_text(json.dumps({**record, **changed}))
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        for line in lines:
            if "start_time" in line:
                line.update(pid=int(changed["pid"]), start_time=changed["start_time"])
            if "boot" in line:
                line["boot"] = changed["boot_id"]
        journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert status(zocker, "one") == "exited"
        refused(zocker("exec", "one", "touch", str(token)))
        assert not token.exists()
        assert zocker("stop", "-t", "0", "one").code == 0
        if forgery == "pid":
            assert zocker("rm", "-f", "one").code == 0
        else:  # the process that is taken for another one lives on: end it before what it stands on goes
            assert alive(int(record["pid"]))
            os.kill(int(record["pid"]), signal.SIGKILL)
            eventually(lambda: not alive(int(record["pid"])))
            assert zocker("rm", "one").code == 0
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()
    assert not (root / "mnt").exists()


def test_rm_needs_no_extended_attributes(stage: Chapter, tmp_path: Path) -> None:
    """Defect 9: also where the record's file system has none (ramfs), rm leaves nothing and frees the name."""
    plain = tmp_path / "plain"
    plain.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "plain", str(plain)], check=True)
    try:
        zocker = Stage("5.8", stage("5.8").root, plain / "state")
        for _ in range(2):
            detached(zocker, "one")
            assert zocker("rm", "-f", "one").code == 0
            assert not (zocker.state / "one").exists()
    finally:
        subprocess.run(["umount", str(plain)], check=True)


# --- 10: exit codes ---------------------------------------------------------------------------------------

CODES = (
    (["true"], 0),
    (["sh", "-c", "exit 7"], 7),
    (["sh", "-c", "exit 255"], 255),
    (["/etc/passwd"], 126),
    (["/bin"], 126),
    (["nosuch"], 127),
    (["/bin/nosuch"], 127),
    (["/etc/passwd/x"], 127),
    ([" "], 127),
    (["sh", "-c", "kill -9 $$; sleep 1; sh -c 'kill -9 $$'; exit $?"], 137),
    (["sh", "-c", "sh -c 'kill -15 $$'; exit $?"], 143),
)


def test_exit_codes_are_the_commands_own(stage: Chapter) -> None:
    """Defect 10: run and exec always ended with 0, errors too."""
    zocker = stage("5.8")
    detached(zocker, "one")
    for command, code in CODES:
        done = zocker("run", "busybox", *command)
        assert done.code == code, (command, done)
        assert done.err.count("\n") == (1 if code in (126, 127) else 0) or code > 127, (command, done)
        again = zocker("exec", "one", *command)
        assert again.code == code, (command, again)


def test_a_command_ended_by_a_signal_gives_128_and_the_number(stage: Chapter, state: Path) -> None:
    """Defect 10: SIGKILL gives 137, in run as in exec."""
    zocker = stage("5.8")
    foreground = zocker.start("run", "--name", "one", "busybox", "sleep", "1000")
    eventually((state / "one/config.json").exists)
    joined = zocker.start("exec", "one", "sh", "-c", "kill -9 $$")
    joined.communicate(timeout=20)
    assert joined.returncode == 137
    os.kill(zocker.pid("one"), signal.SIGKILL)
    foreground.communicate(timeout=20)
    assert foreground.returncode == 137


@pytest.mark.parametrize("chapter", ["3.1", "3.3", "4.1", "4.2", "4.4", "5.1"])
def test_exit_codes_are_right_from_the_first_chapter_on(stage: Chapter, chapter: str) -> None:
    """Defect 10, in the chapters before records."""
    program = stage(chapter)
    assert program("run", "sh", "-c", "exit 9").code == 9
    refused(program("run", "nosuch"), 127)
    refused(program("run", "/etc/passwd"), 126)


def test_a_detached_container_that_cannot_start_says_so_and_leaves_nothing(
    stage: Chapter, root: Path, state: Path
) -> None:
    """Defect 10: errors after the fork were lost."""
    zocker = stage("5.8")
    refused(zocker("run", "-d", "--name", "one", "busybox", "nosuch"), 127)
    refused(zocker("run", "-d", "--name", "one", "busybox", "/etc/passwd"), 126)
    assert not state.exists() and not (root / "mnt").exists() and row(zocker, "one") == []


# --- 11 and 12: names and images ----------------------------------------------------------------------------


def test_a_name_in_use_is_refused_and_its_container_goes_on(stage: Chapter, root: Path, state: Path) -> None:
    """Defect 11: the second run took over the first one's layer and record."""
    zocker = stage("5.8")
    pid = detached(zocker, "one", "sh", "-c", "echo first >/file; echo said; sleep 1000")
    eventually((root / "writeLayer/one/file").exists)
    before = (state / "one/config.json").read_bytes()
    for words in (["run"], ["run", "-d"]):
        assert "one" in refused(zocker(*words, "--name", "one", "busybox", "sh", "-c", "echo second >/file")).err
    assert (state / "one/config.json").read_bytes() == before and zocker.pid("one") == pid and alive(pid)
    assert zocker("exec", "one", "cat", "/file").out == "first\n" and zocker("logs", "one").out == "said\n"
    assert zocker("stop", "one").code == 0
    refused(zocker("run", "--name", "one", "busybox", "true"))  # stopped is still in use
    assert zocker("rm", "one").code == 0
    assert zocker("run", "--name", "one", "busybox", "cat", "/file").code == 1  # and nothing of the first is seen


def test_an_unknown_image_is_refused_and_its_name_stays_good(stage: Chapter, root: Path, state: Path) -> None:
    """Defect 12: it ran on an empty root, and the empty directory poisoned the name for ever."""
    zocker = stage("5.8")
    assert zocker("run", "busybox", "true").code == 0
    before = sorted(os.listdir(root))
    refused(zocker("run", "-d", "--name", "one", "later", "true"))
    assert sorted(os.listdir(root)) == before and not state.exists()
    (root / "later.tar").write_bytes((root / "busybox.tar").read_bytes())
    assert zocker("run", "later", "echo", "works").lines == ["works"]


@pytest.mark.parametrize("damage", ["cut", "no tar", "leads out", "empty"])
def test_a_bad_image_leaves_nothing_that_could_pass_for_one(stage: Chapter, root: Path, damage: str) -> None:
    """Defect 12: no half-made directory is taken for the image by the next run."""
    zocker = stage("5.8")
    assert zocker("run", "busybox", "true").code == 0
    good, image = (root / "busybox.tar").read_bytes(), root / "image.tar"
    bad = {"cut": good[: len(good) // 2], "no tar": os.urandom(5000), "leads out": good, "empty": b""}[damage]
    image.write_bytes(bad)
    if damage == "leads out":
        with tarfile.open(image, "a") as tar:
            tar.addfile(tarfile.TarInfo("../outside"))
    for _ in range(2):
        refused(zocker("run", "image", "true"))
    assert not (root / "image").exists() and unpacking(root) == []
    image.write_bytes(good)
    assert zocker("run", "image", "echo", "works").lines == ["works"]


# --- 13, 14: commit -----------------------------------------------------------------------------------------


def test_a_commit_to_an_existing_name_is_seen_by_the_next_run(stage: Chapter, root: Path) -> None:
    """Defect 13: the old unpacked copy was used."""
    zocker = stage("5.8")
    detached(zocker, "one")
    for number in ("1", "2", "3"):
        assert zocker("exec", "one", "sh", "-c", f"echo {number} >/version").code == 0
        assert zocker("commit", "one", "image").out == f"{root}/image.tar\n"
        assert zocker("run", "image", "cat", "/version").out == f"{number}\n"
    old = zocker("run", "-d", "--name", "two", "image", "sleep", "1000")
    assert old.code == 0
    assert zocker("exec", "one", "sh", "-c", "echo 4 >/version; rm -r /home; touch /var/new").code == 0
    assert zocker("commit", "one", "image").code == 0
    assert zocker("run", "image", "sh", "-c", "cat /version; ls -d /var/new; ls /home").lines[:2] == ["4", "/var/new"]
    seen = zocker("exec", "two", "sh", "-c", "cat /version; ls -d /home; ls /var")
    assert seen.lines == ["3", "/home"], seen  # who runs keeps the layer that he has
    assert zocker("commit", "two", "image").code == 0 and zocker("run", "image", "cat", "/version").out == "3\n"


def test_a_commit_to_busybox_is_seen_too(stage: Chapter) -> None:
    """Defect 13, for the image that the container itself runs on."""
    zocker = stage("5.8")
    detached(zocker, "one", "sh", "-c", "echo mine >/token; sleep 1000")
    eventually(lambda: zocker("exec", "one", "cat", "/token").out == "mine\n")
    assert zocker("commit", "one", "busybox").code == 0
    assert zocker("run", "busybox", "cat", "/token").out == "mine\n"
    assert zocker("exec", "one", "cat", "/token").out == "mine\n"


def test_committing_an_unknown_container_writes_nothing(stage: Chapter, root: Path) -> None:
    """Defect 14: it wrote a valid empty tar, exit 0."""
    zocker = stage("5.8")
    detached(zocker, "one")
    assert zocker("commit", "one", "image").code == 0 and (root / "image.tar").exists()
    before = (root / "image.tar").read_bytes()
    for words in (["nosuch", "image"], ["nosuch", "other"], ["one"], [], ["one", "a", "b"], ["image"]):
        refused(zocker("commit", *words))
    assert not (root / "other.tar").exists() and (root / "image.tar").read_bytes() == before
    refused(stage("4.4")("commit", "other"))
    assert not (root / "other.tar").exists()


# --- 15: a foreground container's root ------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["rm", "run", "reset by another root"])
def test_a_foreground_containers_root_stays_while_it_runs(
    stage: Chapter, root: Path, tmp_path: Path, verb: str
) -> None:
    """Defect 15: M's newest deletes a foreground container's root while it runs."""
    zocker = stage("5.8")
    script = "echo x >/file; while [ ! -e /end ]; do sleep 0.02; done; cat /file; ls /bin/sh"
    foreground = zocker.start("run", "--name", "one", "busybox", "sh", "-c", script)
    eventually((root / "writeLayer/one/file").exists)
    if verb == "rm":
        refused(zocker("rm", "one"))
    elif verb == "run":
        assert zocker("run", "busybox", "true").code == 0
    else:
        other = Stage("5.8", tmp_path / "other", tmp_path / "state")
        subprocess.run([other.command()[0], "reset"], env=other.environment, check=True, capture_output=True)
    assert (root / "writeLayer/one/file").exists() and status(zocker, "one") == "running"
    assert zocker("exec", "one", "touch", "/end").code == 0
    out, _ = foreground.communicate(timeout=20)
    assert (foreground.returncode, out) == (0, b"x\n/bin/sh\n")
    assert not (root / "writeLayer").exists() and not (root / "mnt").exists()


def test_a_root_without_layers_stays_while_its_container_runs(stage: Chapter, root: Path) -> None:
    """Defect 15: in 4.1 the image itself is the root; a new image under the same name does not take it away."""
    program = stage("4.1")
    script = "echo x >/file; while [ ! -e /end ]; do sleep 0.02; done; cat /file; ls /bin/sh"
    foreground = program.start("run", "sh", "-c", script)
    eventually((root / "busybox/file").exists)
    inside = os.open(root / "busybox", os.O_PATH)
    try:
        os.utime(root / "busybox.tar")
        assert program("run", "ls", "/file").code == 1  # the new copy
        assert program("run", "true").code == 0
        os.close(os.open("end", os.O_CREAT | os.O_WRONLY, dir_fd=inside))
    finally:
        os.close(inside)
    out, _ = foreground.communicate(timeout=20)
    assert (foreground.returncode, out) == (0, b"x\n/bin/sh\n")


# --- 16, 17: the command line -----------------------------------------------------------------------------------

ODD = ["", " ", "a  b", "-m", "1", "--name", "x", "--", "-d", "*", "$HOME", "'", '"', "\\", "a\nb", "\t", "é", "\udcff"]
ODD += ["-h", "--help", "a" * 100000]


@pytest.mark.parametrize("chapter", ["3.1", "3.3", "4.2", "5.8"])
def test_every_word_arrives_as_it_was_typed(stage: Chapter, tmp_path: Path, chapter: str) -> None:
    """Defects 16 and 17: words were joined and split on blanks, and the command's flags taken as the program's."""
    program = stage(chapter)
    image = ["busybox"] if chapter == "5.8" else []
    shell = ["sh", "-c", 'for word; do printf "%s|" "$word"; done', "sh"]
    expected = "".join(f"{word}|" for word in ODD)
    assert program("run", *image, *shell, *ODD).out == expected
    if chapter == "5.8":
        detached(program, "one", *shell, *ODD)
        assert program("exec", "one", *shell, *ODD).code in (0, 125)  # it may have ended already
        eventually(lambda: program("logs", "one").out == expected)
        assert program("rm", "-f", "one").code == 0
        detached(program, "one")
        assert program("exec", "one", *shell, *ODD).out == expected


def test_flags_of_the_command_are_the_commands(stage: Chapter, state: Path) -> None:
    """Defect 17: `echo -m 1` set a memory limit, `-d` detached, `--name` named."""
    zocker = stage("5.8")
    words = ["-m", "1", "-d", "-ti", "--name", "x", "-v", "bad", "-e", "bad", "-cpuset", "77", "-f"]
    assert zocker("run", "busybox", "echo", *words).out == " ".join(words) + "\n"
    assert zocker("run", "--", "busybox", "echo", *words).out == " ".join(words) + "\n"
    detached(zocker, "one")
    assert zocker("exec", "one", "echo", *words).out == " ".join(words) + "\n"
    assert sorted(os.listdir(state)) == ["one"]


@pytest.mark.parametrize("verb", ["rm", "stop", "logs", "run", "exec", "commit", "ps"])
def test_asking_for_help_does_nothing_else(stage: Chapter, root: Path, verb: str) -> None:
    """Defect 17: a flag means itself; `rm NAME --help` is not `rm -f NAME`."""
    zocker = stage("5.8")
    pid = detached(zocker, "one")
    for words in (["-h"], ["one", "--help"], ["one", "-h"], ["--name", "x", "-h", "busybox", "true"]):
        done = zocker(verb, *words, timeout=20)
        assert "Traceback" not in done.err, done
        assert alive(pid) and status(zocker, "one") == "running", (words, done)
    assert not (root / "writeLayer/x").exists()


# --- 18: logs -----------------------------------------------------------------------------------------------------


def test_following_a_log_prints_every_line_once_and_ends_with_the_container(stage: Chapter) -> None:
    """Defect 18: `logs -f` printed the whole file again at each change."""
    zocker = stage("5.8")
    fifo = "mkfifo /fifo; exec 3<>/fifo; echo ready; while read line <&3; do echo $line; [ $line != end ] || exit; done"
    detached(zocker, "one", "sh", "-c", fifo)
    eventually(lambda: zocker("logs", "one").out == "ready\n")
    following = [zocker.start("logs", *words) for words in (["one", "-f"], ["-f", "one"])]
    expected = "ready\n"
    for line in ("first", "second", "third", "end"):
        # With the last line the container ends, and this exec with it.
        assert zocker("exec", "one", "sh", "-c", f"echo {line} >/fifo").code in ((0, 137) if line == "end" else (0,))
        expected += line + "\n"
        eventually(lambda expected=expected: zocker("logs", "one").out == expected)
    for process in following:
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out.decode(), err) == (0, expected, b"")


def test_standard_error_of_a_detached_container_is_kept_and_nothing_else_is(stage: Chapter, state: Path) -> None:
    """Defect 18: standard error was lost, and the runtime's own log lines mixed into the container's."""
    zocker = stage("5.8")
    zocker("run", "-d", "--name", "one", "busybox", "sh", "-c", "echo out; echo err >&2; nosuch; exit 3")
    eventually(lambda: status(zocker, "one") == "exited")
    assert zocker("logs", "one").lines == ["out", "err", "sh: nosuch: not found"]
    assert (state / "one/container.log").read_bytes() == b"out\nerr\nsh: nosuch: not found\n"
    assert zocker("commit", "one", "image").code == 0 and zocker("exec", "one", "true").code == 125
    assert zocker("logs", "one").lines == ["out", "err", "sh: nosuch: not found"]


def test_logs_of_an_odd_record_is_a_sentence(stage: Chapter, state: Path) -> None:
    """Defect 18: whatever is in the place of the log, nobody waits and nothing crashes."""
    zocker = stage("5.8")
    detached(zocker, "one")
    log = state / "one/container.log"
    log.unlink()
    refused(zocker("logs", "one"))
    log.mkdir()
    refused(zocker("logs", "one"))
    log.rmdir()
    log.symlink_to("container.log")
    refused(zocker("logs", "one"))
    log.unlink()
    (state / "stray").write_text("no directory")
    (state / "empty").mkdir()
    refused(zocker("logs", "stray"))
    refused(zocker("logs", "empty"))
    assert status(zocker, "one") == "running"
    foreground = zocker.start("run", "--name", "two", "busybox", "sleep", "1000")
    eventually((state / "two/config.json").exists)
    refused(zocker("logs", "two"))
    os.kill(zocker.pid("two"), signal.SIGKILL)
    foreground.communicate(timeout=20)
    assert zocker("rm", "-f", "one").code == 0


DAMAGE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"{}",
    b'{"name": "two", "pid": "1"}',
    b"[" * 100000,
    b'{"pid": {}}',
    b"{}x",
]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: repr(damage[:12]))
def test_a_damaged_record_hides_no_other_and_can_be_removed(
    stage: Chapter, root: Path, state: Path, damage: bytes
) -> None:
    """Defect 9: one bad file must not take the others along."""
    zocker = stage("5.8")
    pid, other = detached(zocker, "one"), detached(zocker, "two")
    (state / "one/config.json").write_bytes(damage)
    listed = zocker("ps")
    assert "Traceback" not in listed.err and row(zocker, "two")[2] == str(other), listed
    assert "one" in listed.out + listed.err
    for words in (["exec", "one", "true"], ["commit", "one", "image"], ["logs", "one"], ["stop", "-t", "0", "one"]):
        done = zocker(*words)
        assert "Traceback" not in done.err and done.err.count("\n") <= 1, done
        assert alive(other), f"{words} hit the wrong container"
    assert alive(pid) is (done.code != 0), "stop said that it stopped the container"
    assert zocker("rm", "-f", "one").code == 0
    assert not alive(pid) and alive(other) and status(zocker, "two") == "running"
    assert not (root / "writeLayer/one").exists()


@pytest.mark.parametrize(
    "damage", [b"", b"{\n", b"[1]\n", b"\xff\n", b'{"step": "Nonsense", "fields": {}, "before": {}}\n']
)
def test_a_damaged_journal_is_named_and_harms_no_other(stage: Chapter, root: Path, damage: bytes) -> None:
    """Defect 9: undo works from the journal; a damaged one undoes nothing, says so, and stops nobody else."""
    zocker = stage("5.8")
    pid = detached(zocker, "one")
    detached(zocker, "two")
    journal = root / ".zocker/containers/one/journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + damage)
    assert status(zocker, "two") == "running"
    assert zocker("exec", "two", "true").code == 0
    assert zocker("commit", "two", "busybox").code == 0
    assert zocker("run", "busybox", "true").code == 0
    assert zocker("rm", "-f", "two").code == 0
    done = zocker("rm", "-f", "one")
    assert "Traceback" not in done.err and done.err.count("\n") <= 1, done
    if done.code:
        assert (root / "writeLayer/one").exists() and "journal" in done.err
        journal.write_bytes(whole)
        assert zocker("rm", "-f", "one").code == 0
    assert not alive(pid) and not (root / "mnt").exists()


# --- 19: volumes ------------------------------------------------------------------------------------------------------


def test_volumes_of_any_depth_and_number_are_there(stage: Chapter, root: Path, tmp_path: Path) -> None:
    """Defect 19: `-v` took one level of directory and one volume."""
    zocker = stage("5.8")
    pairs = {
        "a": "/a",
        "b/c/d": "/x/y/z",
        "e f": "/with blank",
        "g,h": "/comma,here",
        "i\\j": "/back\\slash",
        "k": "/etc/deep",
    }
    options = [word for host, inside in pairs.items() for word in ("-v", f"{tmp_path}/{host}:{inside}")]
    script = "".join(f"echo '{inside}' >'{inside}/file' && " for inside in pairs.values()) + "cat /etc/passwd"
    done = zocker("run", *options, "busybox", "sh", "-c", script)
    assert done.code == 0 and "root:" in done.out, done
    for host, inside in pairs.items():
        assert (tmp_path / host / "file").read_text() == f"{inside}\n"
    again = zocker("run", *options, "busybox", "cat", *(f"{inside}/file" for inside in pairs.values()))
    assert again.lines == list(pairs.values())


def test_a_file_can_be_a_volume(stage: Chapter, tmp_path: Path) -> None:
    """Defect 19: what is mounted need not be a directory."""
    (tmp_path / "file").write_text("of the host\n")
    zocker = stage("5.8")
    volume = f"{tmp_path}/file:/etc/deep/file"
    assert (
        zocker("run", "-v", volume, "busybox", "sh", "-c", "cat /etc/deep/file; echo new >/etc/deep/file").out
        == "of the host\n"
    )
    assert (tmp_path / "file").read_text() == "new\n"


# --- two at a time, since the life cycle is also that of others ---------------------------------------------------------


def test_two_removals_at_once_both_end_well(stage: Chapter, root: Path, state: Path) -> None:
    """Defect 8: whoever comes second finds it gone, or says that there is none; nobody crashes."""
    zocker = stage("5.8")
    for _ in range(3):
        detached(zocker, "one")
        with ThreadPoolExecutor() as pool:
            results = list(pool.map(lambda _: zocker("rm", "-f", "one"), range(4)))
        assert 0 in [result.code for result in results]
        for result in results:
            assert result.code == 0 or "there is no container" in refused(result).err, results
        assert not (root / "mnt").exists() and not state.exists()
