"""The scripts of `--explain` are a second implementation of each chapter: every documented behaviour is looked for in it."""

import pytest

from harness.check import pytest_words, understood
from tests.harness import forked


# Where the ground changes: the pipe, the image with one layer for all, everything but images by name, all of it.
@pytest.mark.parametrize("chapter", ["3.3", "4.4", "5.6", "5.8"])
def test_the_scripts_have_what_the_chapter_documents(chapter: str) -> None:
    """And in the last chapter none of the known defects of other implementations."""
    words = [chapter, "--subject", "explained", "--all", *(["--defects"] if chapter == "5.8" else [])]
    done = forked.run([*pytest_words(understood(words)), "--workers", 4])
    assert done.returncode == 0, done.stdout + done.stderr
