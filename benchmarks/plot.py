"""A plot of lines as an SVG picture: the few things that it takes, written by hand."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 420, 70, 50, 40, 190
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8d5a97", "#b08900", "#444444")


@dataclass
class Plot:
    """Lines in one picture: `series` by name, each a list of points (x, y).  Both axes are logarithmic: all is above 0."""

    name: str
    title: str
    x: str
    y: str
    series: dict[str, list[tuple[float, float]]]


def svg(plot: Plot) -> str:
    """The picture, as the text of an SVG file.  https://www.w3.org/TR/SVG2/"""
    points = [point for line in plot.series.values() for point in line]
    across = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    up = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, TOP - 18, plot.title, "start", 15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, plot.x),
        f'<g transform="rotate(-90 16 {HEIGHT / 2})">{_text(16, HEIGHT / 2, plot.y)}</g>',
    ]
    for value in across.marks():
        x = across.place(value)
        parts += [_line(x, TOP, x, HEIGHT - BOTTOM), _text(x, HEIGHT - BOTTOM + 18, f"{value:g}")]
    for value in up.marks():
        y = up.place(value)
        parts += [_line(LEFT, y, WIDTH - RIGHT, y), _text(LEFT - 8, y + 4, f"{value:g}", "end")]
    for number, (name, line) in enumerate(plot.series.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(across.place(x), up.place(y)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        y = TOP + 14 + 20 * number
        parts.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(WIDTH - RIGHT + 30, y, name, "start"))
    return "\n".join([*parts, "</svg>", ""])


class _Axis:
    """Where values are put between the places `first` and `last`."""

    def __init__(self, values: list[float], first: float, last: float) -> None:
        self.low, self.high = math.log10(min(values)), math.log10(max(values))
        if self.high - self.low < 0.3:  # else the marks would be left out
            self.low, self.high = math.floor(self.low), math.ceil(self.high + 1e-9)
        self.first, self.last = first, last

    def place(self, value: float) -> float:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.first + part * (self.last - self.first)

    def marks(self) -> list[float]:
        """1, 2 and 5, and their tens and hundreds, as far as they are on the axis."""
        found = [
            digit * 10.0**power
            for power in range(math.floor(self.low), math.ceil(self.high) + 1)
            for digit in (1, 2, 5)
        ]
        return [value for value in found if self.low - 1e-9 <= math.log10(value) <= self.high + 1e-9]


def _text(x: float, y: float, words: str, anchor: str = "middle", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'
