"""./bootstrap, run for real on a copy of the checkout: with blanks in its path, and owned by a plain user."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
OWNER = 1234
MADE_BY_RUNNING = (".git", ".tox", ".bootstrap", ".vagrant", "__pycache__", ".*_cache", "*.egg-info", "build")


class Copy:
    """A copy of the checkout, and what happened when it was made ready."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.after_kill: tuple[list[Path], list[Path]] = [], []  # environments begun, and finished
        self.two: list[tuple[str, str, int]] = []  # output, errors and exit code of the two at once
        shutil.copytree(CHECKOUT, path, symlinks=True, ignore=shutil.ignore_patterns(*MADE_BY_RUNNING))
        subprocess.run(["chown", "-R", f"{OWNER}:{OWNER}", path], check=True)

    def start(self, *words: str, before: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[str]:
        command = [*before, str(self.path / "bootstrap"), *words]
        settings = {"cwd": "/", "start_new_session": True, "stdin": subprocess.DEVNULL, **options}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*words, **options)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def environments(self) -> list[Path]:
        return list((self.path / ".bootstrap").glob("*-*-*"))

    def finished(self) -> list[Path]:
        return [each for each in self.environments() if (each / "ready").exists()]

    def of_root(self) -> list[str]:
        """What in the copy belongs to root."""
        return [str(each) for each in [self.path, *self.path.rglob("*")] if each.lstat().st_uid == 0]


@pytest.fixture(scope="module")
def public_directory() -> Iterator[Path]:
    """A directory that a plain user can look into, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="test-bootstrap-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def copy(public_directory: Path) -> Copy:
    return Copy(public_directory / "a check out")


@pytest.fixture(scope="module")
def ready(copy: Copy) -> Copy:
    """The copy after a set-up that was killed half-way, and after two at once."""
    old = copy.path / ".bootstrap" / "1-2-3"
    old.mkdir(parents=True)
    (old / "ready").touch()

    killed = copy.start("true")
    wait_for(lambda: any(copy.path.glob("*.egg-info")))  # pip is at work
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    copy.after_kill = copy.environments(), copy.finished()

    processes = [copy.start("echo", "started") for _ in range(2)]
    copy.two = [(*process.communicate(timeout=300), process.returncode) for process in processes]
    if any(code for *_, code in copy.two):
        must_have_a_registry()
    return copy


def must_have_a_registry() -> None:
    """Skips when it is the registry that can't be reached; a failure in CI, where nothing is skipped."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", directory, "tox"]
        if subprocess.run(command).returncode and not os.environ.get("CI"):
            pytest.skip("the package registry can't be reached, so no virtual environment can be made")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited a minute for nothing"
        time.sleep(0.01)


# --- before anything is made ready ---


def test_without_a_command_it_says_how_it_is_used(copy: Copy) -> None:
    done = copy.run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ./bootstrap CMD")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_no_error(copy: Copy, flag: str) -> None:
    done = copy.run(flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert "./bootstrap stages tour commit" in done.stdout


def as_a_plain_user(copy: Copy, tools: Path) -> dict[str, Any]:
    before = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    return {"before": before, "env": {"PATH": str(tools), "PIP_RETRIES": "0", "CI": "true", "OTHER": "1"}}


def tools_without(directory: Path, *names: str) -> Path:
    """A directory with all programs of this machine but those named."""
    directory.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name not in names:
            (directory / program.name).symlink_to(program)
    return directory


def test_a_plain_user_without_sudo_is_told_what_to_do(copy: Copy, public_directory: Path) -> None:
    tools = tools_without(public_directory / "no sudo", "sudo")
    done = copy.run("tox", **as_a_plain_user(copy, tools))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"bootstrap: this needs root, and there is no sudo: run  su -c \"'{copy.path}/bootstrap' tox\"\n"
    )


def test_a_plain_user_with_sudo_gets_root_by_it(copy: Copy, public_directory: Path) -> None:
    tools = tools_without(public_directory / "sudo", "sudo")
    sudo = tools / "sudo"
    sudo.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    sudo.chmod(0o755)
    done = copy.run("echo", "a  b", "", '"$', **as_a_plain_user(copy, tools))
    kept, *command = done.stdout.removesuffix("\n").split("\n")
    assert set(kept.removeprefix("--preserve-env=").split(",")) == {"PIP_RETRIES", "CI"}
    assert command == ["--", "/bin/sh", f"{copy.path}/bootstrap", "echo", "a  b", "", '"$']


def test_where_there_is_no_apt_it_says_what_is_missing(copy: Copy, public_directory: Path) -> None:
    tools = tools_without(public_directory / "no apt", "apt-get", "zstd")
    done = copy.run("true", env={"PATH": str(tools)})
    assert done.returncode == 1
    assert done.stderr == ("bootstrap: this machine lacks zstd: install that, then run the same command again\n")
    assert copy.of_root() == []


@pytest.mark.parametrize(
    "words", ["tox -e vm", "tox -q -e lint,vm -- -k commit", "tox -evm", "stages vm up", "stages check 5.7 --vm"]
)
def test_what_is_for_the_virtual_machine_needs_its_tools(copy: Copy, tmp_path: Path, words: str) -> None:
    tools = tools_without(tmp_path / "tools", "apt-get", "vagrant", "qemu-system-x86_64")
    done = copy.run(*words.split(), env={"PATH": str(tools)})
    assert done.returncode == 1
    assert "this machine lacks" in done.stderr and " vagrant qemu-system-x86" in done.stderr


def test_a_setup_that_fails_says_so_and_does_not_count(public_directory: Path) -> None:
    copy = Copy(public_directory / "offline")
    environment = {**os.environ, "PIP_CONFIG_FILE": "/dev/null", "PIP_RETRIES": "0"}
    environment.pop("PIP_FIND_LINKS", None)
    done = copy.run("echo", "started", before=("unshare", "-n"), env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("bootstrap: the virtual environment could not be made")
    assert copy.finished() == []
    assert copy.of_root() == []


def test_ctrl_c_ends_a_setup_and_what_was_made_belongs_to_the_owner(public_directory: Path) -> None:
    copy = Copy(public_directory / "interrupted")
    process = copy.start("echo", "started")
    wait_for(lambda: any((each / "bin" / "python").exists() for each in copy.environments()))
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert copy.finished() == []
    assert copy.of_root() == []


# --- making ready ---


def test_a_setup_that_was_killed_does_not_count(ready: Copy) -> None:
    begun, finished = ready.after_kill
    assert [each.name for each in finished] == ["1-2-3"]
    assert len(begun) == 2


def test_of_two_at_once_one_waits_for_the_other(ready: Copy) -> None:
    assert [(out, code) for out, _, code in ready.two] == [("started\n", 0)] * 2
    assert sum("making a virtual environment" in err for _, err, _ in ready.two) == 1, ready.two
    assert sum("waiting for another bootstrap" in err for _, err, _ in ready.two) == 1


def test_the_old_environment_is_removed(ready: Copy) -> None:
    assert len(ready.finished()) == len(ready.environments()) == 1
    assert ready.environments()[0].name != "1-2-3"


# --- when all is ready ---


def test_the_second_run_needs_no_network_and_says_nothing(ready: Copy) -> None:
    log = ready.path / ".bootstrap" / "log"
    before = log.stat().st_mtime_ns
    done = ready.run("tox", "--version", before=("unshare", "-n"))
    assert (done.returncode, done.stderr) == (0, "")
    assert str(ready.environments()[0]) in done.stdout
    assert log.stat().st_mtime_ns == before


def test_the_command_gets_its_words_its_input_and_the_top_directory(ready: Copy) -> None:
    script = 'pwd; cat; printf "%s|" "$@"'
    with tempfile.TemporaryFile() as given:
        given.write(b"input\n")
        given.seek(0)
        done = ready.run("sh", "-c", script, "sh", "a  b", "", "-x", stdin=given)
    assert done.stdout == f"{ready.path}\ninput\na  b||-x|"


def test_the_checkout_itself_is_installed_so_edits_are_seen(ready: Copy) -> None:
    code = "import os; os.chdir('/'); import stages, stage_commit; print(stages.__file__)"
    assert ready.run("python", "-c", code).stdout == f"{ready.path}/stages/__init__.py\n"
    assert ready.run("sh", "-c", "command -v stages").stdout == f"{ready.path}/bin/stages\n"


@pytest.mark.parametrize("words", ["echo tox -e vm", "stages list", "tox --version -e lint -- -e vm --vm"])
def test_nothing_else_needs_the_virtual_machines_tools(ready: Copy, tmp_path: Path, words: str) -> None:
    tools = tools_without(tmp_path / "tools", "apt-get", "vagrant", "qemu-system-x86_64", "mmdebstrap")
    assert ready.run(*words.split(), env={"PATH": str(tools)}).returncode == 0


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)])
def test_the_exit_code_is_the_commands(ready: Copy, script: str, code: int) -> None:
    assert ready.run("sh", "-c", script).returncode == code


def test_a_command_that_does_not_exist_is_127(ready: Copy) -> None:
    done = ready.run("no-such-command")
    assert (done.returncode, done.stderr) == (127, "bootstrap: there is no command no-such-command\n")


def test_what_root_made_belongs_to_the_owner_also_after_a_failure(ready: Copy) -> None:
    script = "id -u; umask 077; mkdir -p deep/er; touch deep/er/file; exit 3"
    done = ready.run("sh", "-c", script)
    assert (done.stdout, done.returncode) == ("0\n", 3)
    assert ready.of_root() == []
    assert (ready.path / "deep" / "er" / "file").stat().st_uid == OWNER


def test_nothing_outside_the_checkout_changes_its_owner(ready: Copy, public_directory: Path) -> None:
    outside = public_directory / "outside"
    outside.touch()
    script = """
        cd "$1"; mkdir mounted; mount -t tmpfs none mounted; touch mounted/file; ln "$2" name; ln -s "$2" link
        ./bootstrap true; stat -c %u mounted/file "$2" link; rm name
    """
    command = ["unshare", "-m", "sh", "-ec", script, "sh", str(ready.path), str(outside)]
    assert subprocess.check_output(command, text=True).split() == ["0", "0", str(OWNER)]


def test_at_ctrl_c_it_waits_for_the_command_and_then_gives_back(ready: Copy) -> None:
    script = "trap 'sleep 0.3; touch late; exit 7' INT; echo started; while :; do sleep 0.1; done"
    process = ready.start("sh", "-c", script)
    assert process.stdout is not None and process.stdout.readline() == "started\n"
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 7
    assert (ready.path / "late").stat().st_uid == OWNER


def test_a_signal_for_bootstrap_alone_reaches_the_command(ready: Copy) -> None:
    process = ready.start("sh", "-c", "echo started; exec sleep 60")
    assert process.stdout is not None and process.stdout.readline() == "started\n"
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143


def test_in_a_checkout_of_roots_own_the_command_takes_its_place(ready: Copy) -> None:
    os.chown(ready.path, 0, 0)
    try:
        process = ready.start("sh", "-c", "echo $$")
        out, _ = process.communicate(timeout=30)
        assert out == f"{process.pid}\n"
    finally:
        os.chown(ready.path, OWNER, OWNER)
