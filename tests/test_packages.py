"""What is packaged is all that runs."""

import tomllib

from tests.conftest import CHECKOUT


def test_every_package_of_the_program_is_packaged() -> None:
    """A chapter or a part that is not named in pyproject.toml is there in a clone, and missing where it was installed."""
    listed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [file.parent for top in ("stages", "stage_*") for file in CHECKOUT.glob(f"{top}/**/__init__.py")]
    assert sorted(listed) == sorted(str(package.relative_to(CHECKOUT)).replace("/", ".") for package in found)
