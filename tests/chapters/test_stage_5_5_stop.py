"""5.5  SIGTERM asks the container's PID 1 to end, SIGKILL ends it; the record then says stopped."""

import json
import time

from tests.chapters.conftest import Chapter, chapters, eventually, fresh, is_gone, row, until


@chapters("5.5")
def test_stop_asks_before_it_kills(chapter: Chapter) -> None:
    """D18: a PID 1 that catches SIGTERM can say goodbye."""
    name, ready, bye = fresh("bird"), fresh("ready"), fresh("bye")
    chapter.detach(["sh", "-c", f"trap 'echo {bye}; exit 0' TERM; echo {ready}; {until('/never')}"], name=name)
    log = chapter.state / name / "container.log"
    eventually(lambda: log.read_text() == f"{ready}\n")
    assert chapter("stop", name).code == 0
    assert log.read_text() == f"{ready}\n{bye}\n"


@chapters("5.5")
def test_who_does_not_go_is_killed_after_the_time_given(chapter: Chapter) -> None:
    """`stop --time=1` waits one second for a PID 1 that catches SIGTERM and stays; the flag may stand behind the name."""
    name, ready = fresh("bird"), fresh("ready")
    first = chapter.detach(["sh", "-c", f"trap 'echo no' TERM; echo {ready}; {until('/never')}"], name=name)
    log = chapter.state / name / "container.log"
    eventually(lambda: ready in log.read_text())
    begun = time.monotonic()
    assert chapter("stop", name, "--time=1").code == 0
    assert 0.9 < time.monotonic() - begun < 8
    eventually(lambda: is_gone(first))
    assert log.read_text() == f"{ready}\nno\n"


@chapters("5.5")
def test_a_second_stop_is_harmless(chapter: Chapter) -> None:
    """What is stopped stays stopped, in `ps` and in its record."""
    name = fresh("bird")
    chapter.detach(["top"], name=name)
    for _ in range(2):
        assert chapter("stop", name).code == 0
        found = row(chapter, name)
        assert found and found["STATUS"] == "stopped"
        record = json.loads((chapter.state / name / "config.json").read_text())
        assert (record["status"], record["pid"]) == ("stopped", "")


@chapters("5.5")
def test_several_are_stopped_at_once(chapter: Chapter) -> None:
    """`stop` takes as many names as one likes."""
    names = [fresh("bird") for _ in range(2)]
    firsts = [chapter.detach(["top"], name=name) for name in names]
    assert chapter("stop", *names).code == 0
    eventually(lambda: all(is_gone(first) for first in firsts))
