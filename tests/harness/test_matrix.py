"""Every check is proven: the matrix of checks × mutants, pinned.

A mutant is one of our chapters' programs with one fault.  The checks that hold in its chapter are made of it; those that
fail are the ones that are known to see the fault, no more and no fewer.  A check that fails for no mutant proves nothing.
"""

import json
from pathlib import Path

import pytest

from harness.chapters import NUMBERS, reaches
from harness.check import BEHAVIOURS
from harness.plugin import Cell, is_defect
from tests.harness import forked
from tests.harness.conftest import OPTIONS
from tests.harness.mutants import MUTANTS, Mutant, as_program

PATIENCE = 0.2  # of the usual: all that goes well takes milliseconds

# How many behaviours, and how many known defects, are looked for in each chapter.  That ours passes them all is tested by
# `tests/behaviours` itself.
HOLD = {
    "3.1": (5, 5),
    "3.2": (7, 9),
    "3.3": (12, 9),
    "4.1": (15, 10),
    "4.2": (16, 11),
    "4.3": (18, 15),
    "4.4": (21, 17),
    "5.1": (24, 17),
    "5.2": (26, 21),
    "5.3": (28, 23),
    "5.4": (31, 31),
    "5.5": (35, 32),
    "5.6": (37, 36),
    "5.7": (42, 43),
    "5.8": (43, 43),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_exactly_these_checks_fail(name: str, tmp_path: Path) -> None:
    """The fault is seen by the checks that are pinned, and by no other."""
    mutant = MUTANTS[name]
    if not mutant.is_one_here():
        pytest.skip("it is a fault only where the cpuset controller is one of cgroup v1")
    found = checked(mutant, tmp_path, PATIENCE)
    # On a busy machine the small patience may be too small: a failure that nobody expected is looked at again, with all of it.
    odd = [str(line["nodeid"]) for line in found.values() if line["outcome"] == "failed" and not pinned(mutant, line)]
    if odd:
        found |= checked(mutant, tmp_path, 1, *odd)
    failed = {key: line for key, line in found.items() if line["outcome"] == "failed"}
    weakly = {key for key, line in failed.items() if line["weak"]}
    table = "\n".join(f"  {key}: {line['where']}{' (weak)' if line['weak'] else ''}" for key, line in failed.items())
    told = f"{name} at {mutant.chapter}: {mutant.says}\n{table}"
    assert sorted(failed.keys() - weakly) == sorted(mutant.kills), told
    assert sorted(weakly) == sorted(mutant.weakly), told


def pinned(mutant: Mutant, failure: dict[str, object]) -> bool:
    """Is the mutant known to be failed by this check, in this way?"""
    return failure["key"] in (mutant.weakly if failure["weak"] else mutant.kills)


def test_every_check_has_a_killer(cells: list[Cell]) -> None:
    """And one that otherwise ends with exit code 0."""
    killed = {key for mutant in MUTANTS.values() for key in mutant.kills}
    assert sorted({cell.key for cell in cells} - killed) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_pinned_is_made(name: str, cells: list[Cell]) -> None:
    """Every mutant kills something, and only checks that there are, and that are made of it."""
    mutant = MUTANTS[name]
    made = {
        cell.key
        for cell in cells
        if cell.chapter == mutant.chapter and not cell.state and reaches(cell.since, mutant.since)
    }
    assert mutant.kills
    assert not mutant.kills & mutant.weakly
    assert sorted((mutant.kills | mutant.weakly) - made) == []


def test_how_many_checks_hold_in_each_chapter(cells: list[Cell]) -> None:
    holding = [(cell.chapter, is_defect(cell.number)) for cell in cells if not cell.state]
    assert {number: (holding.count((number, False)), holding.count((number, True))) for number in NUMBERS} == HOLD


def checked(mutant: Mutant, directory: Path, patience: float, *which: str) -> dict[str, dict[str, object]]:
    """The checks made of a mutant, all or those with these node ids: what is known of each, by its key."""
    results = directory / f"results-{patience}"
    words = ["-q", "--tb=no", *OPTIONS, "--subject", as_program(mutant, directory), "--chapter", mutant.chapter]
    words += ["--since", mutant.since, "--results", results, "--patience", patience]
    done = forked.run([*words, *(which or [BEHAVIOURS])])
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return {line["key"]: line for line in map(json.loads, results.read_text().splitlines())}
