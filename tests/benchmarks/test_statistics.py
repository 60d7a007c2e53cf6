"""The arithmetic of the benchmarks, and their picture."""

import xml.etree.ElementTree as xml

import pytest

from benchmarks.bench import row
from benchmarks.pairs import Contender, Refused, Result, Stopwatch, Taken, compare, medians, ratios
from benchmarks.plot import Plot, svg


def taken(*walls: float) -> list[Taken]:
    return [Taken(wall, wall / 2) for wall in walls]


def test_the_ratio_is_the_median_of_the_pairs_and_not_of_the_sums() -> None:
    """A machine that is slow for two rounds is slow for both."""
    found = ratios(taken(1, 100, 3, 1), taken(2, 200, 6, 1))
    assert found["ratio"] == 0.5 and found["cpu_ratio"] == 0.5


def test_the_middle_half_leaves_out_a_quarter_at_each_end() -> None:
    found = ratios(taken(1, 2, 3, 4, 100), taken(1, 1, 1, 1, 1))
    assert (found["low"], found["ratio"], found["high"]) == (2, 3, 4)


def test_one_round_has_a_ratio_too() -> None:
    found = ratios(taken(1), taken(4))
    assert (found["low"], found["ratio"], found["high"]) == (0.25, 0.25, 0.25)


def test_medians_are_in_milliseconds() -> None:
    assert medians(taken(0.001, 0.5, 0.002)) == (2, 1)


class Log:
    """Counts what is run, in order."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.ran = fails, []  # type: ignore[var-annotated]

    def take(self, contender: Contender) -> Taken:
        self.ran.append(contender.name)
        if contender.name == self.fails:
            raise Refused("no such cgroup")
        return Taken(len(self.ran), 1)

    def peak(self, contender: Contender) -> float:
        return 7


def test_two_are_timed_in_turn_and_the_first_round_is_not_counted() -> None:
    log = Log()
    result = compare(log, Result("g", "n", "a", "b", 3), Contender("a", []), Contender("b", []))  # type: ignore[arg-type]
    assert log.ran == ["a", "b"] * 4
    assert result.wall == (5000, 6000) and result.memory == (7, 7) and result.says == ""


def test_a_peer_that_refuses_is_named_with_its_reason() -> None:
    result = compare(Log("b"), Result("g", "n", "a", "b", 3), Contender("a", []), Contender("b", []))  # type: ignore[arg-type]
    assert result.says == "b refused: no such cgroup" and "b refused: no such cgroup" in row(result)


def test_the_stopwatch_tells_what_a_program_said() -> None:
    watch = Stopwatch({"PATH": "/usr/bin:/bin"}, lambda: 0.0)
    with pytest.raises(Refused, match=r"^the reason$"):
        watch.take(Contender("it", ["sh", "-c", "echo before >&2; echo the reason >&2; exit 3"]))
    with pytest.raises(Refused, match="ended with 3"):  # what the one before said is forgotten
        watch.take(Contender("it", ["sh", "-c", "exit 3"]))


def test_only_what_is_behind_the_line_is_timed() -> None:
    watch = Stopwatch({"PATH": "/usr/bin:/bin"}, lambda: 0.0)
    words = ["sh", "-c", "sleep 0.5; echo written"]
    assert watch.take(Contender("it", words, ends=True)).wall < watch.take(Contender("it", words)).wall / 2


def test_a_row_shows_the_ratio_its_middle_half_and_the_goal() -> None:
    result = Result("g", "run", "ours", "theirs", 20, wall=(10, 20), ratio=0.5, low=0.4, high=0.6, goal=0.7)
    assert "0.500 (0.400-0.600)" in row(result) and " 0.7 " in row(result) and "run / theirs" in row(result)


def test_the_plot_is_a_picture_with_each_line_in_it() -> None:
    series = {"run & more": [(1.0, 20.0), (1000.0, 25.0)], "ps": [(1.0, 10.0), (1000.0, 80.0)]}
    picture = xml.fromstring(svg(Plot("growth", "Growth", "containers", "ms", series)))
    lines = [each for each in picture.iter() if each.tag.endswith("polyline")]
    texts = {each.text for each in picture.iter() if each.tag.endswith("text")}
    assert len(lines) == 2 and {"run & more", "ps", "Growth", "containers", "ms", "100"} <= texts
    first, last = (point.split(",") for point in lines[1].attrib["points"].split())
    assert float(first[0]) < float(last[0]) and float(first[1]) > float(last[1])  # up is more


def test_a_plot_of_values_that_are_all_the_same_is_drawn() -> None:
    assert "polyline" in svg(Plot("p", "P", "x", "y", {"one": [(1.0, 5.0), (2.0, 5.0)]}))
