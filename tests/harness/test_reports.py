"""What a learner sees of typical faults, word for word: the whole output of `stages check`, as it is in `reports/NAME.txt`.

What is another one each time is replaced there, by `<token>` for example. After a change that is meant, write the files anew,
and read the difference as a learner would:

    RENEW_REPORTS=1 python -m pytest tests/harness/test_reports.py; git diff tests/harness/reports
"""

import difflib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.mutants import MUTANTS, as_program
from tests.harness.test_check import OURS, check, script

REPORTS = Path(__file__).parent / "reports"
FAULTS = [
    "root-left-shared",
    "pid-namespace-skipped",
    "cpuset-mems-unset",
    "start-pipe-skipped",
    "old-root-kept",
    "layer-kept-for-the-next",
    "volume-read-only",
    "exec-without-the-fork",
    "stop-only-sends-term",
    "commit-without-the-volume",
]
# Two more that are no mutants: a program that says which call has failed, and one that forgets something.
SCRIPTS = {
    "pivot-root-refused": ["exec unshare -m --propagation unchanged pivot_root /proc /proc"],
    "a-mount-that-stays": ["chapter=5.7", "mount -t tmpfs none /mnt", OURS],
}
REPLACED = [
    (r"/tmp/tmp\w{8}/", "<tmp>/"),
    (r"\b([a-z]+\d*)-[0-9a-f]{10}\b", r"\1-<token>"),
    (r"(?<=sleep )\d{7}\b", "<token>"),
    (r"\b\d{10}\b", "<id>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>"),
    (r"\n\d+ passed, .*\n$", "\n"),  # which is said in CI
    (r"(?<=<token>)=(?!1\b)\d+", "=<pid>"),
    # Lists of processes: in `ps` of ours, and of the container's or the host's.
    (r"(<id> +\S+ +)\d+ +", r"\1<pid>  "),
    (r"(?m)^( +\|) +1 /.*$", r"\1 <pid> <the first process>"),
    (r"(?m)^( +\|) +\d+ /usr/bin/python3 .*$", r"\1 <pid> <the program>"),
    (r"(?m)^( +\|) +\d+ (?=\S)", r"\1 <pid> "),
    (r"\d+ (sleep <token>, on the host)", r"<pid> \1"),
    # What this machine has: control groups, CPUs, mounts.
    (r"(?m)(^ +\| t-<token> )\d+:.*\n(?: +\| (?:t-<token> \d+:.*|…)\n)*", r"\1<its groups>\n"),
    (r"(?m)/\.old \(\w+\)\n(?: +BAD +/\.old/.*\n)*(?: +\(and \d+ rows more\)\n)?", "/.old <and its mounts>\n"),
    (r"(?m)(?<=its directory\.\n) +A mount of the type .*\n", ""),
    (r"(?m)(?<= )0-\d+$", "<cpus>"),
]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where the program is: a path that is always of the same length, since lines are broken by it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


@pytest.mark.parametrize("name", [*FAULTS, *SCRIPTS])
def test_what_a_learner_sees(name: str, directory: Path) -> None:
    """It is what it was, has no line that is too long, and nothing in it is Python's."""
    if name in SCRIPTS:
        chapter, program = "5.7", script(directory / name, *SCRIPTS[name])
    elif not MUTANTS[name].is_one_here() or ("cpuset" in name and os.sched_getaffinity(0) < {0, 1}):
        pytest.skip("it is no fault on this machine")
    else:
        chapter, program = MUTANTS[name].chapter, as_program(MUTANTS[name], directory)
    done = check(chapter, "--subject", program, patience=1)
    assert (done.returncode, done.stderr) == (1, ""), done
    assert max(map(len, done.stdout.splitlines())) <= 110
    shown = replaced(done.stdout)
    assert not re.search(r"Traceback|\.py\b(?!.*\|)|Error\b|None\b|\{\}|\['", shown), shown
    same(name, shown)


def replaced(text: str) -> str:
    """The text without what is another one each time."""
    for pattern, by in REPLACED:
        text = re.sub(pattern, by, text)
    return text


def same(name: str, found: str) -> None:
    """Fail with the difference when it is not what it was; with RENEW_REPORTS it is from now on."""
    file = REPORTS / f"{name}.txt"
    if os.environ.get("RENEW_REPORTS"):
        file.write_text(found)
    expected = file.read_text() if file.exists() else ""
    if found != expected:
        lines = difflib.unified_diff(
            expected.splitlines(), found.splitlines(), str(file), "what is printed now", "", "", 2, ""
        )
        pytest.fail("\n".join(["If that is meant: RENEW_REPORTS=1", *lines]), pytrace=False)
