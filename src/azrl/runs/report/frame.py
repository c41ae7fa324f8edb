"""The frame of a chart: scales, ticks, grid, legend and caption, as inline SVG in the page's colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from azrl.runs.report.markup import Html, join, tag

WIDTH, HEIGHT = 400.0, 216.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 22.0, 28.0


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values in [low, high] to SVG units in [start, end]; an empty range maps to the middle."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The place of a value, in SVG units."""
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return self.start + share * (self.end - self.start)


def across(low: float, high: float) -> Axis:
    """The horizontal axis of the standard frame."""
    return Axis(low, high, LEFT, WIDTH - RIGHT)


def upward(values: Iterable[float], *, floor: float | None = None, ceiling: float | None = None) -> Axis:
    """A vertical axis that holds the values with some air; `floor` and `ceiling` fix an end."""
    kept = list(values) or [0.0, 1.0]
    low, high = min(kept), max(kept)
    air = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    low, high = low - air, high + air
    return Axis(low if floor is None else floor, high if ceiling is None else ceiling, HEIGHT - BOTTOM, TOP)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) inside [low, high]."""
    span = high - low
    if not (span > 0 and math.isfinite(span)):
        return [low]
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    gap = next(size * power for size in (1, 2, 5, 10) if size * power >= raw * 0.999)
    first = math.ceil(low / gap - 1e-9)
    return [round(index * gap, 12) for index in range(first, math.floor(high / gap + 1e-9) + 1)]


def number(value: float, percent: bool = False) -> str:
    """A short text: 41.2 %, 0.312, 1.2 k, 3.4 M."""
    if percent:
        return f"{100 * value:.3g} %"
    size = abs(value)
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= (scale if scale > 1e3 else 1e4):
            return f"{value / scale:.3g} {unit}"
    if size >= 1000:
        return f"{value:.0f}"
    return f"{value:.2e}" if 0 < size < 1e-3 else f"{value:.3g}"


def colour(index: int) -> str:
    """An inline style that picks the palette's colour; the page defines --s0 to --s9 for light and dark."""
    return f"--c:var(--s{index % 10})"


def write(value: str, x: float, y: float, *, kind: str = "tick", anchor: str = "start") -> Html:
    """Text with its baseline at y."""
    return tag("text", value, class_=kind, x=x, y=y, text_anchor=anchor)


def box(
    left: float, top: float, width: float, height: float, style: str, *, kind: str = "bar", tip: str = ""
) -> Html:
    """A rectangle, never thinner than can be seen; `tip` is told while it is pointed at."""
    told = tag("title", tip) if tip else ""
    return tag("rect", told, x=left, y=top, width=max(width, 0.5), height=height, class_=kind, style=style)


def grid(x: Axis, y: Axis, *, percent: bool, steps: bool = True) -> list[Html]:
    """Horizontal lines with their values; step numbers below, unless the columns have names of their own."""
    parts = []
    for value in ticks(y.low, y.high):
        place = y.at(value)
        parts.append(tag("line", class_="grid", x1=x.start, x2=x.end, y1=place, y2=place))
        parts.append(write(number(value, percent), x.start - 6, place + 4, anchor="end"))
    if steps:
        whole = (value for value in ticks(x.low, x.high, 6) if value == int(value))
        parts += [write(f"{value:.0f}", x.at(value), HEIGHT - 9, anchor="middle") for value in whole]
    return parts


def readout(x: Axis, left: float, right: float, head: str, values: Sequence[tuple[int, str]]) -> Html:
    """A column that shows its values at the top of the chart while pointed at or tapped, without a script."""
    middle = (left + right) / 2
    shown = [tag("tspan", head, class_="head")]
    shown += [tag("tspan", value, style=colour(index), class_="value", dx=8) for index, value in values]
    return tag(
        "g",
        box(left, TOP, right - left, HEIGHT - TOP - BOTTOM, "", kind="hit"),
        tag("line", x1=middle, x2=middle, y1=TOP, y2=HEIGHT - BOTTOM, class_="cross"),
        tag("text", *shown, x=x.start, y=12, class_="readout"),
        class_="spot",
        tabindex=0,
    )


def legend(names: Sequence[tuple[int, str]]) -> Html:
    """Coloured marks with their names; a single one needs none beside the title."""
    marks = [tag("span", tag("i", style=colour(index)), name) for index, name in names]
    return tag("p", *marks, class_="legend") if len(marks) > 1 else Html("")


def figure(
    title: str, drawing: Iterable[Html], *, key: Html | str = "", caption: str = "", height: float = HEIGHT
) -> Html:
    """A card: title, legend, drawing, caption."""
    svg = tag("svg", *drawing, viewBox=f"0 0 {WIDTH:.0f} {height:.0f}", role="img", aria_label=title)
    note = tag("p", caption, class_="note") if caption else ""
    return tag("figure", tag("figcaption", title), key, svg, note)


def cards(*figures: Html) -> Html:
    """Figures side by side where there is room; empty ones are left out."""
    kept = [card for card in figures if card]
    return tag("div", join(kept), class_="cards") if kept else Html("")
