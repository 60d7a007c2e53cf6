"""The cache of a verb's modules in one file: what is in it, when it is made anew, and what happens where it can't be."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, Result, Stage

VERBS = {
    "run": ["run", "busybox", "true"],
    "exec": ["exec", "one", "true"],
    "ps": ["ps"],
    "stop": ["stop", "one"],
    "rm": ["rm", "one"],
}


class Copy:
    """A copy of the program, whose files a test may change."""

    def __init__(self, path: Path, zocker: Stage) -> None:
        self.path, self.zocker = path, zocker
        for part in ("bin", "stages", *(part.name for part in CHECKOUT.glob("stage_*"))):
            shutil.copytree(CHECKOUT / part, path / part, ignore=shutil.ignore_patterns("__pycache__"))

    def __call__(self, *words: str, before: "tuple[str, ...]" = (), python: "tuple[str, ...]" = ()) -> Result:
        program = [str(self.path / "bin/zocker")]
        if python:
            program = ["/usr/bin/python3", "-IS", *python, str(self.path / "stages/start.py"), "zocker"]
        done = subprocess.run(
            [*before, *program, *words], env=self.zocker.environment, capture_output=True, text=True, timeout=60
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def files(self) -> list[Path]:
        return sorted((self.path / "stages/__pycache__").glob("*.together*"))


@pytest.fixture
def copy(stage: Callable[[str], Stage], tmp_path: Path) -> Copy:
    return Copy(tmp_path / "a checkout", stage("5.8"))


@pytest.mark.parametrize("verb", VERBS)
def test_the_second_time_a_verb_looks_for_none_of_our_modules(copy: Copy, verb: str) -> None:
    """All that a verb imports of ours, also late, is in its one file."""
    for python in ((), ("-X", "importtime")):
        copy("rm", "-f", "one")
        assert copy("run", "-d", "--name", "one", "busybox", "sleep", "1000").code == 0
        if verb == "rm":
            assert copy("stop", "one").code == 0
        done = copy(*VERBS[verb], python=python)
        assert done.code == 0, done
    copy("rm", "-f", "one")
    assert "import time" in done.err and [line for line in done.err.splitlines() if "stage" in line] == []


def test_a_changed_source_counts_at_once(copy: Copy) -> None:
    assert copy("ps").lines[0].split()[0] == "ID"
    source = copy.path / "stage_5_2_ps/__init__.py"
    source.write_text(source.read_text().replace('"ID"', '"NUMBER"'))
    assert copy("ps").lines[0].split()[0] == "NUMBER"
    assert copy("ps").lines[0].split()[0] == "NUMBER"


@pytest.mark.parametrize("content", [b"", b"rubbish", b"half"])
def test_a_damaged_file_is_made_anew(copy: Copy, content: bytes) -> None:
    assert copy("ps").code == 0
    [file] = copy.files()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content == b"half" else content)
    done = copy("ps")
    assert (done.code, done.err) == (0, "") and done.lines[0].startswith("ID")
    assert file.read_bytes() == whole


def test_a_checkout_that_can_not_be_written_to_works_without(copy: Copy) -> None:
    read_only = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    before = ("unshare", "-m", "--propagation", "private", "sh", "-c", read_only, str(copy.path))
    done = copy("ps", before=before)
    assert (done.code, done.err) == (0, "") and done.lines[0].startswith("ID")
    assert copy.files() == []


def test_a_full_disk_leaves_nothing_half_written(copy: Copy) -> None:
    """The file is not there, the verb works, and nothing lies aside."""
    small = 'mount -t tmpfs -o size=8k none "$0" && "$@" && ls -A "$0"'
    directory = copy.path / "stages/__pycache__"
    directory.mkdir()
    done = copy("ps", before=("unshare", "-m", "--propagation", "private", "sh", "-c", small, str(directory)))
    assert (done.code, done.err) == (0, "") and done.lines[0].startswith("ID")
    assert "together" not in done.out.replace("together.cpython", "")


def test_many_at_once_make_one_whole_file(copy: Copy) -> None:
    programs = [
        subprocess.Popen(
            [copy.path / "bin/zocker", "ps"], env=copy.zocker.environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(12)
    ]
    for program in programs:
        out, _ = program.communicate(timeout=60)
        assert program.returncode == 0 and out.startswith("ID")
    assert len(copy.files()) == 1
    assert copy("ps").code == 0


def test_a_chapter_or_verb_that_is_not_there_makes_no_file(copy: Copy) -> None:
    for words in (["run", "../../evil", "--", "ps"], ["run", "9.9", "--", "ps"], ["run", "3.1", "--", "ps"]):
        done = subprocess.run([copy.path / "bin/stages", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 125 and "there is no" in done.stderr, done
    assert copy.files() == []
