"""3.3  The command travels through a pipe, and waits there until its limits are set."""

from tests.chapters.conftest import Chapter, chapters


@chapters("3.3", "5.8")
def test_v_shows_the_steps_in_the_order_in_which_they_are_done(chapter: Chapter) -> None:
    """The command is executed when its limits are set, and that is what `-v` says too."""
    done = chapter("-v", *chapter.words(["-m", "100m"], ["true"]))
    shown = done.err.splitlines()
    joins = [number for number, line in enumerate(shown) if line.endswith("/cgroup.procs")]
    (executes,) = (number for number, line in enumerate(shown) if "exec env -i " in line)
    assert joins and max(joins) < executes, done
