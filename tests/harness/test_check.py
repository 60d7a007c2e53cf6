"""`stages check`: it says that ours has what it documents, and of programs that lack something that they lack it."""

import os
import shlex
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest

from harness import check as command
from harness.check import NEEDED
from harness.expect import BAD, Mismatch, Row
from harness.python import HAS
from harness.subjects import CHECKOUT
from tests.harness import forked

STAGES = shlex.quote(str(CHECKOUT / "bin" / "stages"))  # as a word of a script
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(CHECKOUT),
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
}


PATIENCE = 0.2  # of the usual, for programs of which nothing comes anyway


def as_a_command(*words: object) -> "subprocess.CompletedProcess[str]":
    """The command, in a Python that has all that the checks need."""
    argv = [sys.executable, "-m", "harness.check", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False)


def check(*words: object, patience: float = PATIENCE) -> "subprocess.CompletedProcess[str]":
    """What the command has pytest do, one check after the other."""
    wanted = command.understood([str(word) for word in words])
    return forked.run([*command.pytest_words(wanted), "--patience", patience])


def script(file: Path, *lines: str) -> Path:
    """A program of these lines of shell."""
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    file.chmod(0o755)
    return file


def lines(done: "subprocess.CompletedProcess[str]", mark: str) -> list[str]:
    """The lines of the report with this mark."""
    return [line.strip() for line in done.stdout.splitlines() if line.strip().startswith(f"{mark} ")]


# Ours


def test_ours_has_what_5_7_documents(tmp_path: Path) -> None:
    """Every behaviour that holds at 5.7, once; those that are outgrown or still to come are listed and not counted as had."""
    done = as_a_command("5.7", "--junit", tmp_path / "report.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    passed, others = lines(done, "✓"), lines(done, "–")
    numbers = {line.split()[1] for line in passed}
    assert numbers == {f"D{n}" for n in range(1, 21)} - {"D2", "D8"}
    assert {line.split()[1] for line in others} == {"D2", "D7", "D8", "D9", "D11", "D21"}
    assert all("holds until" in line or "comes with 5.8" in line for line in others)
    assert not lines(done, "✗")
    assert f"{len(passed)} as documented ✓, {len(others)} not claimed –" in done.stdout
    cases = xml.etree.ElementTree.parse(tmp_path / "report.xml").findall(".//testcase")
    unchecked = lines(done, "?")
    assert len(cases) == len(passed) + len(unchecked)


def test_several_subjects_make_a_table(tmp_path: Path) -> None:
    """A column for each; one's failure doesn't touch the other, nor does a difference on purpose."""
    nothing = script(tmp_path / "nothing", "exit 0")
    (tmp_path / "other.toml").write_text(
        f'program = "{nothing}"\nclaims = "3.1"\n[differences]\nD1 = "it runs nothing"\nD2 = "nor there"\n'
    )
    done = check("3.1", "--subjects", f"ours,{tmp_path}/other.toml", "--all")
    assert done.returncode == 1, done.stdout + done.stderr
    rows = {line.split()[0]: line.split()[-2:] for line in done.stdout.splitlines() if line.startswith("  D")}
    assert rows == {"D1": ["✓", "≠"], "D2": ["✓", "≠"], "D3": ["✓", "✗"]} | {
        number: ["–", "–"] for number in rows if number not in ("D1", "D2", "D3")
    }
    assert "other: differs: it runs nothing" in done.stdout


def test_a_difference_that_is_none_is_a_failure(tmp_path: Path) -> None:
    """The subject's file says what a program does otherwise; when it doesn't, the file is wrong."""
    (tmp_path / "mine.toml").write_text(
        f"program = '{CHECKOUT}/bin/stages run 3.1 --'\nclaims = \"3.1\"\n"
        '[differences]\n"D1 pid_1" = "it counts from 0"\n"D2" = "it lives in /"\n'
    )
    done = check("3.1", "--all", "--subject", tmp_path / "mine.toml")
    assert done.returncode == 1 and done.stderr == ""
    assert [line.split()[1] for line in lines(done, "✗")] == ["D1", "D2"] and len(lines(done, "✓")) == 3
    for sentence in ("it counts from 0", "it lives in /"):
        assert (
            f"This is as documented now, so the difference has to go from the subject's file: {sentence}" in done.stdout
        )


def test_a_mismatch_can_be_said_in_utf_8_whatever_was_printed() -> None:
    """What was found may be any bytes; with several workers, or in a file, the words have to be UTF-8."""
    words = str(Mismatch("here", [Row(BAD, os.fsdecode(b"\xff"), "grün")]))
    assert words.encode().decode() == "here: BAD: expected \\udcff, found grün"


# Programs that have nothing


def test_a_program_that_does_nothing_fails_readably(tmp_path: Path) -> None:
    """What was done, what was expected and found, and what that probably means; and the rest is not looked at."""
    junit = tmp_path / "report.xml"
    done = check("5.7", "--subject", script(tmp_path / "mydocker", "exit 0"), "--junit", junit)
    assert done.returncode == 1 and done.stderr == ""
    assert [line.split()[1] for line in lines(done, "✗")] == ["D1"] and lines(done, "✓") == []
    report = done.stdout
    assert f"$ {tmp_path}/mydocker run busybox sh -c 'echo " in " ".join(report.split())
    assert "exit code 0, nothing printed" in report
    assert "expected" in report and "found" in report and "MISSING" in report
    assert "The command was not executed, or its standard output is not that of `run`." in report
    assert "A first hint:" in report and "in stage_3_1_run/hints.toml, below [pid_1]" in report
    assert "stopped there" in report and "--all goes on" in report
    assert "Traceback" not in report and ".py" not in report
    (failure,) = xml.etree.ElementTree.parse(junit).findall(".//failure")
    in_report = [line.strip() for line in report.splitlines()]
    assert all(line.strip() in in_report for line in (failure.text or "").splitlines())
    assert "A first hint:" in (failure.text or "") and "MISSING" in (failure.text or "")


def test_with_all_none_of_it_passes(tmp_path: Path) -> None:
    """A check of absence must not be content with a program that does nothing."""
    done = check("5.8", "--all", "--defects", "--subject", script(tmp_path / "mydocker", "exit 0"))
    assert done.returncode == 1
    assert lines(done, "✓") == []
    failed = {line.split()[1] for line in lines(done, "✗")}
    assert {f"F{n}" for n in range(1, 24)} <= failed
    assert "could not go on" not in done.stdout


@pytest.mark.parametrize(
    "line",
    [
        "head -c 5000 /dev/urandom; head -c 500 /dev/urandom >&2",
        "(exec timeout 2 yes flood); exit 0",
        'rm -f "$0"',
        "kill -SEGV $$",
        'shift 2; exec "$@"',  # on the host
    ],
)
def test_garbage_floods_and_worse_fail_and_do_no_harm(tmp_path: Path, line: str) -> None:
    done = check("5.7", "--subject", script(tmp_path / "mydocker", line))
    assert done.returncode == 1 and done.stderr == ""
    assert [each.split()[1] for each in lines(done, "✗")] == ["D1"] and lines(done, "✓") == []
    assert "Traceback" not in done.stdout
    assert len(done.stdout) < 10_000 and done.stdout.replace("\n", "").isprintable()


# Programs that leave something: ours behind a script.  Those that lack something are the mutants: see test_matrix.

OURS = f'exec {STAGES} run "$chapter" -- "$@"'
GROUPS = "/sys/fs/cgroup /sys/fs/cgroup/*/"

STAYS = {
    "a mount stayed": ["mount -t tmpfs none /mnt", OURS],
    "a process stayed": ["sleep 1000 >/dev/null 2>&1 &", OURS],
    "a file stayed: /root/left-": ["mktemp /root/left-XXXXXX >/dev/null", OURS],
    "a cgroup stayed": [f"for d in {GROUPS}; do mkdir $d/left-$$; done 2>/dev/null", OURS],
}


@pytest.mark.parametrize("what", STAYS)
def test_what_is_left_behind_is_named(tmp_path: Path, what: str) -> None:
    """By the first check, whatever it is there for."""
    done = check("3.1", "--subject", script(tmp_path / "mydocker", "chapter=3.1", *STAYS[what]))
    assert done.returncode == 1 and done.stderr == "", done.stdout + done.stderr
    assert [line.split()[1] for line in lines(done, "✗")] == ["D1"] and what in done.stdout, done.stdout


# Bad input


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["9.9"], "there is no chapter '9.9': there are 3.1, "),
        (["5.7", "5.8"], "one chapter at a time"),
        (["--subject"], "--subject needs a value"),
        (["--junit="], "--junit needs a value"),
        (["--nosuch"], "there is no option --nosuch"),
        (["--subject", "nosuch"], "there is no subject 'nosuch'"),
        (["--subject", "./nosuch"], "./nosuch: there is no such program"),
        (["--subject", "/etc/passwd"], "is not executable"),
        (["--subject", "nosuch.toml"], "nosuch.toml: there is no such file"),
        (["--subjects", "ours,5.8"], "two subjects of the name"),
        (["--junit", "/nosuch/report.xml"], "there is no directory /nosuch"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = command.main(words), capsys.readouterr()
    assert (code, printed.out, printed.err.count("\n")) == (125, "", 1), printed
    assert says in printed.err


def test_without_root_or_pytest_it_says_what_to_do(tmp_path: Path) -> None:
    nobody = ["setpriv", "--reuid", "65534", "--clear-groups", sys.executable, "-m", "harness.check", "5.7"]
    done = subprocess.run(nobody, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stdout) == (125, "") and "sudo" in done.stderr and done.stderr.count("\n") == 1

    bare = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import harness.check as c, harness.python as p\n"
        "p.CHECKOUT = p.CHECKOUT / 'nosuch'; sys.exit(c.main(['5.7']))"
    )
    script(tmp_path / "python3", "exit 1")
    environment = {"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"}
    words = ["/usr/bin/python3", "-IS", "-c", bare]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (125, ""), done
    assert done.stderr.endswith("not all installed: use ./bootstrap stages check\n") and done.stderr.count("\n") == 1


def test_a_python_without_one_of_the_packages_will_not_do() -> None:
    """One that has all of them is looked for; each is looked for by the name that it is imported by."""
    for packages, code in ((NEEDED, 0), ((*NEEDED, "nosuch_package"), 1)):
        assert subprocess.run([sys.executable, "-P", "-c", HAS, *packages], check=False).returncode == code
    for package in NEEDED:
        __import__(package)
