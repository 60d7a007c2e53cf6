"""Keeps the bytecode of all modules that a verb uses in one file, so that the next start reads one file and not forty.

It is a cache like Python's own and lies beside it, in `__pycache__`: made when it is missing, made anew when a source has
changed, and done without where nothing can be written.  `stages.start` reads it.
"""

import marshal
import os
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType

from stages import find, up_to, verbs
from stages.kernel.errors import Failure

# What a verb imports only when it gets there, and nearly always does.
LATER = {
    "run": ["stages.run", "stages.kernel.images", "stages.kernel.trees"],
    "stop": ["stages.kernel.freezer"],
    "rm": ["stages.kernel.freezer", "stages.kernel.images", "stages.kernel.steps", "stages.kernel.trees"],
}


def write(checkout: str, file: str, stage: str, verb: str) -> None:
    """Write `file`, with the modules that `verb` uses in the chapter `stage`; nothing when that can't be done.

    The modules are loaded by it, in the usual way.  `checkout` is the directory that holds the packages.
    """
    aside = f"{file}.{os.getpid()}"
    if sys.dont_write_bytecode or not os.access(os.path.dirname(file), os.W_OK):
        return
    try:
        modules = _modules(stage, verb)
    except (Failure, KeyError):
        return  # there is no such chapter, or it has no such verb: the launcher says so
    try:
        with open(aside, "xb") as opened:
            opened.write(marshal.dumps(_contents(checkout, modules)))
        os.rename(aside, file)  # in one moment: somebody else may be reading, or writing the same
    except OSError:
        if os.path.exists(aside):
            os.unlink(aside)


def _modules(stage: str, verb: str) -> list[ModuleType]:
    """All modules of ours that the verb uses, none before one that it imports itself."""
    loaded = [sys.modules[name] for name in ("stages", "stages.kernel", "stages.kernel.errors")]
    usual = SourceFileLoader.exec_module

    def noting(loader: SourceFileLoader, module: ModuleType) -> None:
        usual(loader, module)
        loaded.append(module)

    rung = find(stage)
    packages = (
        [step.package for step in up_to(rung) if step.changes_run] if verb == "run" else [verbs(rung)[verb].package]
    )
    SourceFileLoader.exec_module = noting  # type: ignore[assignment, method-assign]
    try:
        for name in ["stages.launch", "stages.kernel.places", *LATER.get(verb, []), *packages]:
            __import__(name)
    finally:
        SourceFileLoader.exec_module = usual  # type: ignore[method-assign]
    return [module for module in loaded if module.__name__.startswith("stage")]


def _contents(checkout: str, modules: list[ModuleType]) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """What `load_together` in `stages.start` takes: what the sources look like, and the modules' names, paths and code."""
    stamps: list[tuple[object, ...]] = []
    rows: list[tuple[object, ...]] = []
    for path in ["stages/start.py", "stages/together.py"]:
        stamps.append((path, _stamp(f"{checkout}/{path}")))
    for module in modules:
        path = str(module.__file__).removeprefix(f"{checkout}/")
        stamps.append((path, _stamp(f"{checkout}/{path}")))  # before the code: what is written meanwhile is noticed
        loader = module.__loader__
        assert isinstance(loader, SourceFileLoader)
        rows.append((module.__name__, path, loader.get_code(module.__name__)))
    return stamps, rows


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size
