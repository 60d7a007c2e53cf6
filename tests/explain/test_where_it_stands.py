"""`--explain` stands right behind the verb; anywhere else the program says so, and does nothing."""

import subprocess

import pytest

from harness.subjects import CHECKOUT


def explained(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [str(CHECKOUT / "bin" / "stages"), "run", "5.8", "--", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words",
    [
        ["--explain", "ps"],
        ["-v", "--explain", "ps"],
        ["run", "-d", "--explain", "busybox", "true"],
        ["rm", "-f", "--explain", "bird"],
    ],
)
def test_elsewhere_it_is_told_where(words: list[str]) -> None:
    done = explained(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (125, "", 1)
    assert "--explain stands right behind the verb" in done.stderr


def test_behind_the_words_of_a_command_it_is_the_commands() -> None:
    """All behind the first word that is no option of ours belongs to the command."""
    done = explained("run", "--explain", "busybox", "echo", "--explain")
    assert done.returncode == 0 and done.stdout.startswith("#!/bin/sh\n")
    assert "HOME=/root echo --explain\n" in done.stdout
