"""Several checks at once: what is told is the same as of one after the other, and whoever ends it ends all of it."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.check import WORKERS, pytest_words, understood
from harness.look import difference, look_at
from harness.program import eventually
from harness.subjects import CHECKOUT
from harness.subtree import NAME
from harness.world import World
from tests.harness import forked
from tests.harness.test_check import ENVIRONMENT, OURS, script

HANGS = ["exec sleep 1000"]


@pytest.mark.parametrize("options", [[], ["--all"]])
def test_the_report_is_the_same_whoever_makes_the_checks(tmp_path: Path, options: list[str]) -> None:
    """In the order of the chapters, to the first failure or to the end, whichever check is over first."""
    # The third check of five fails; the last two are the fastest.
    fails = ['case "$*" in *pwd*) exec echo elsewhere;; *sleep*) sleep 0.2;; esac', "chapter=3.1", OURS]
    words = [*pytest_words(understood(["3.1", "--subject", str(script(tmp_path / "mine", *fails)), *options]))]
    reports = [forked.run([*words, "--workers", count]) for count in (1, 2, 4)]
    shown = [re.sub(r"t-[0-9a-f]{10}", "<token>", report.stdout) for report in reports]
    assert "✗ D2 " in shown[0] and ("✓ D3" in shown[0]) == bool(options)
    assert shown[1:] == shown[:1] * 2
    assert [report.returncode for report in reports] == [1] * 3


CHECK = [sys.executable, "-m", "harness.check"]


@pytest.mark.parametrize(
    ("check", "how"), [(CHECK, "Ctrl-C"), (CHECK, "SIGKILL"), ([f"{CHECKOUT}/bin/stages", "check"], "Ctrl-C")]
)
def test_who_is_ended_leaves_no_world(tmp_path: Path, check: list[str], how: str) -> None:
    """Typed on the terminal, Ctrl-C reaches all processes; a SIGKILL only the one that waits for the workers."""
    with World() as machine:
        machine.copy_in(script(tmp_path / "hangs", *HANGS), "/root/hangs")
        words = [*check, "3.1", "--subject", "/root/hangs"]
        before = look_at(machine)
        running = machine.start(words, env=ENVIRONMENT, terminal=True)

        def worlds() -> set[str]:
            return {found for _, path in machine.subtree.groups() for found in re.findall(rf"{NAME}\w+", path[1:])}

        assert eventually(lambda: len(worlds()) == min(WORKERS, 5)), running.screen()
        if how == "Ctrl-C":
            running.type("\x03")
            assert running.wait(10).code == 130, running.screen()
            assert "Traceback" not in running.screen()
        else:
            machine.signal(running.pid, signal.SIGKILL)
            running.wait(10)
        left: list[str] = []

        def nothing() -> bool:
            left[:] = [each for each in difference(before, look_at(machine)) if "a cgroup" in each or "process" in each]
            return not left

        assert eventually(nothing, 5), left


def test_a_bar_on_a_terminal_shows_how_far_it_is(tmp_path: Path) -> None:
    """On standard error, and gone in the end; what is printed on standard output is as ever."""
    slow = script(tmp_path / "slow", "sleep 0.5", "chapter=3.1", OURS)
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "harness.check", "3.1", "--subject", str(slow)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, text=True, env=ENVIRONMENT, check=False)
    shown = os.read(ours, 65536).decode()
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0, done.stdout
    assert "\r" not in done.stdout and "of 5 checks" not in done.stdout
    bars = re.findall(r"\[(#*) *\] (\d) of 5 checks", shown)
    assert bars and all(len(bar) == 30 * int(number) // 5 for bar, number in bars)
    assert re.fullmatch(r"(\r\[[# ]{30}\] \d of 5 checks *|\r +\r)+", shown) and shown.endswith(" \r")
