"""5.5  SIGTERM asks the container's PID 1 to end, SIGKILL ends it; the record then says stopped."""

import json
import time

import pytest

from tests.chapters.conftest import Chapter, eventually, fresh, holds, is_gone, row, until


@holds("5.5")
@pytest.mark.parametrize("command", ["top", "sleep 1000"])
def test_after_stop_the_status_is_stopped_the_pid_empty_and_the_process_gone(chapter: Chapter, command: str) -> None:
    """D18: for top, which dies of SIGTERM, and for sleep, which as a PID 1 does not even notice it."""
    name = fresh("bird")
    first = chapter.detach(command.split(), name=name)
    found = row(chapter, name)
    assert found and (found["STATUS"], found["PID"]) == ("running", str(first))
    begun = time.monotonic()
    done = chapter("stop", name)
    assert (done.code, done.err) == (0, ""), done
    assert time.monotonic() - begun < 8, "nobody waits for a PID 1 that does not heed SIGTERM"
    eventually(lambda: is_gone(first))
    found = row(chapter, name)
    assert found and (found["STATUS"], found["PID"]) == ("stopped", "")
    record = json.loads((chapter.state / name / "config.json").read_text())
    assert (record["status"], record["pid"]) == ("stopped", "")


@holds("5.5")
def test_stop_asks_before_it_kills(chapter: Chapter) -> None:
    """D18: a PID 1 that catches SIGTERM can say goodbye."""
    name, ready, bye = fresh("bird"), fresh("ready"), fresh("bye")
    chapter.detach(["sh", "-c", f"trap 'echo {bye}; exit 0' TERM; echo {ready}; {until('/never')}"], name=name)
    log = chapter.state / name / "container.log"
    eventually(lambda: log.read_text() == f"{ready}\n")
    assert chapter("stop", name).code == 0
    assert log.read_text() == f"{ready}\n{bye}\n"


@pytest.mark.parametrize("chapter", ["5.5", "5.8"], indirect=True)
@pytest.mark.parametrize("words", ["-t 1 {}", "{} --time=1"])
def test_who_does_not_go_is_killed_after_the_time_given(chapter: Chapter, words: str) -> None:
    """`stop -t 1` waits one second for a PID 1 that catches SIGTERM and stays; the flag may stand before or after the name."""
    name, ready = fresh("bird"), fresh("ready")
    first = chapter.detach(["sh", "-c", f"trap 'echo no' TERM; echo {ready}; {until('/never')}"], name=name)
    log = chapter.state / name / "container.log"
    eventually(lambda: ready in log.read_text())
    begun = time.monotonic()
    assert chapter("stop", *words.format(name).split()).code == 0
    assert 0.9 < time.monotonic() - begun < 8
    eventually(lambda: is_gone(first))
    assert log.read_text() == f"{ready}\nno\n"


@pytest.mark.parametrize("chapter", ["5.5", "5.8"], indirect=True)
def test_stop_of_an_unknown_container_is_refused_and_a_second_stop_is_harmless(chapter: Chapter) -> None:
    """What isn't there can't be stopped; what is stopped stays stopped."""
    name = fresh("bird")
    assert chapter("stop", name).code == 125
    chapter.detach(["top"], name=name)
    assert chapter("stop", name).code == 0
    assert chapter("stop", name).code == 0
    found = row(chapter, name)
    assert found and found["STATUS"] == "stopped"


@pytest.mark.parametrize("chapter", ["5.5", "5.8"], indirect=True)
def test_several_are_stopped_at_once(chapter: Chapter) -> None:
    """`stop` takes as many names as one likes; a wrong one among them stops none."""
    names = [fresh("bird") for _ in range(2)]
    firsts = [chapter.detach(["top"], name=name) for name in names]
    assert chapter("stop", names[0], fresh("nosuch")).code == 125
    assert not any(is_gone(first) for first in firsts)
    assert chapter("stop", *names).code == 0
    eventually(lambda: all(is_gone(first) for first in firsts))
