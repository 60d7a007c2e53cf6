"""The mutants, by name: each is one of our chapters' programs with one fault.  A check that no mutant fails proves nothing."""

from tests.harness.mutants import commits, execs, layers, lifecycle, limits, namespaces, root, volumes
from tests.harness.mutants.mutant import MUTANTS, Mutant, as_program

__all__ = [
    "MUTANTS",
    "Mutant",
    "as_program",
    "commits",
    "execs",
    "layers",
    "lifecycle",
    "limits",
    "namespaces",
    "root",
    "volumes",
]
