"""What the tests of the harness share: all the checks that there are."""

import os

import pytest

from harness.check import BEHAVIOURS
from harness.plugin import CELLS, Cell

OPTIONS = ["-c", os.devnull, "--rootdir", BEHAVIOURS, "--confcutdir", BEHAVIOURS, "-p", "no:cacheprovider"]
OPTIONS += ["-p", "harness.plugin", "--defects"]


@pytest.fixture(scope="session")
def cells() -> list[Cell]:
    """Each check × each of our chapters."""

    class Collector:
        cells: list[Cell]

        def pytest_collection_finish(self, session: pytest.Session) -> None:
            self.cells = list(session.config.stash[CELLS].values())

    collector = Collector()
    code = pytest.main([*OPTIONS, "-p", "no:terminal", "--collect-only", BEHAVIOURS], plugins=[collector])
    assert code == 0
    assert len({(cell.key, cell.subject) for cell in collector.cells}) == len(collector.cells), "two checks of one key"
    return collector.cells
