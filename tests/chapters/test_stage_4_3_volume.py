"""4.3  A directory of the host, mounted into the container, outlives it."""

from pathlib import Path

from tests.chapters.conftest import Chapter, chapters, first_process, fresh, tree


@chapters("4.3", "5.7")
def test_what_the_volume_gets_is_not_in_the_write_layer(chapter: Chapter, tmp_path: Path) -> None:
    """D10: in the write layer there is only the empty directory that it is mounted on."""
    name = fresh()
    words = ["sh", "-c", f"echo >/to1/{name}; exec sleep 1000"]
    options = ["-v", f"{tmp_path}/from:/to1"]
    if chapter.knows("5.7"):
        options += ["--name", "bird"]
    first_process(chapter.begin(options, words), "sleep")
    assert (tmp_path / "from" / name).exists()
    assert tree(chapter.layer("bird")) == {"to1/"}
