"""While the machine is protected, nothing in the world can write its files; its own it can."""

from pathlib import Path

from harness.protection import read_only
from harness.world import World


def test_the_machines_files_are_read_only_in_the_world_meanwhile(tmp_path: Path) -> None:
    """And only there, and only meanwhile."""
    file = tmp_path / "file"
    with World() as world:
        with read_only(world):
            done = world.run(
                ["sh", "-c", f"echo in >{file}; echo own >/root/file && echo own >/var/file && echo wrote"]
            )
            assert "Read-only" in done.err and done.out == "wrote\n"
            file.write_text("out")
        assert world.run(["sh", "-c", f"cat {file}; echo in >{file}"]).out == "out"
    assert file.read_text() == "in\n"
