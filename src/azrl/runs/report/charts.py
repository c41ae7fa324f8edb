"""Charts over steps: lines with error bars, and stacked columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from azrl.runs.report.frame import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    Axis,
    across,
    box,
    colour,
    figure,
    grid,
    legend,
    number,
    readout,
    upward,
    write,
)
from azrl.runs.report.markup import Html, tag

_DRAWN = 240  # points of a line: more than the eye sees at this width
_SPOTS = 40  # columns that show their values
_COLUMNS = 48  # stacked columns

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A named line: (step, value) pairs in step order, with standard errors or none."""

    name: str
    points: tuple[Point, ...]
    colour: int
    errors: tuple[float, ...] = ()


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` points, each the mean of neighbours."""
    size = math.ceil(len(points) / most) if points else 1
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [(sum(p[0] for p in g) / len(g), sum(p[1] for p in g) / len(g)) for g in groups]


def smooth(points: Sequence[Point]) -> tuple[list[Point], int]:
    """Centred moving mean, and the number of steps it spans: a twelfth of the run, 1 for short runs."""
    window = len(points) // 12 if len(points) >= 24 else 1
    half = window // 2
    sums = [0.0]
    for _, value in points:
        sums.append(sums[-1] + value)
    result = []
    for at, (step, _) in enumerate(points):
        first, last = max(0, at - half), min(len(points), at + half + 1)
        result.append((step, (sums[last] - sums[first]) / (last - first)))
    return result, 2 * half + 1


def _path(points: Sequence[Point], x: Axis, y: Axis) -> str:
    return "M" + "L".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in points)


def lines(
    title: str,
    series: Sequence[Series],
    *,
    percent: bool = False,
    floor: float | None = None,
    ceiling: float | None = None,
    caption: str = "",
) -> Html:
    """One line a series. With error bars, points as measured; without, a moving mean over the faint raw line.

    Empty series are left out; no point at all gives no figure.
    """
    kept = [one for one in series if one.points]
    if not kept:
        return Html("")
    steps = [step for one in kept for step, _ in one.points]
    values = [
        v + s * e for one in kept for (_, v), e in zip(one.points, _errors(one), strict=True) for s in (-1, 1)
    ]
    x, y = across(min(steps), max(steps)), upward(values, floor=floor, ceiling=ceiling)
    drawing = grid(x, y, percent=percent)
    for one in kept:
        trend, window = (list(one.points), 1) if one.errors else smooth(one.points)
        style = colour(one.colour)
        if window > 1:
            drawing.append(tag("path", d=_path(thin(one.points, _DRAWN), x, y), class_="raw", style=style))
        drawing.append(tag("path", d=_path(thin(trend, _DRAWN), x, y), class_="line", style=style))
        if window == 1 and len(one.points) <= 40:
            drawing += [
                tag("circle", cx=x.at(a), cy=y.at(b), r=3, class_="dot", style=style) for a, b in one.points
            ]
        for (step, value), error in zip(one.points, one.errors, strict=False):
            drawing.append(whisker(x.at(step), y.at(value - error), y.at(value + error), style))
    drawing += _spots(kept, x, percent)
    return figure(title, drawing, key=legend([(one.colour, one.name) for one in kept]), caption=caption)


def _errors(series: Series) -> tuple[float, ...]:
    return series.errors or (0.0,) * len(series.points)


def whisker(x: float, low: float, high: float, style: str) -> Html:
    """An error bar."""
    shape = f"M{x:.1f},{low:.1f}V{high:.1f}M{x - 3:.1f},{low:.1f}h6M{x - 3:.1f},{high:.1f}h6"
    return tag("path", d=shape, class_="whisker", style=style)


def _spots(series: Sequence[Series], x: Axis, percent: bool) -> list[Html]:
    steps = sorted({step for one in series for step, _ in one.points})
    groups = [
        steps[at : at + math.ceil(len(steps) / _SPOTS)]
        for at in range(0, len(steps), math.ceil(len(steps) / _SPOTS))
    ]
    lookup = [dict(one.points) for one in series]
    middles = [x.at((group[0] + group[-1]) / 2) for group in groups]
    edges = [x.start, *((a + b) / 2 for a, b in pairwise(middles)), x.end]
    spots = []
    for group, left, right in zip(groups, edges, edges[1:], strict=False):
        shown = []
        for one, table in zip(series, lookup, strict=True):
            found = [table[step] for step in group if step in table]
            if found:
                shown.append((one.colour, f"{one.name} {number(sum(found) / len(found), percent)}".strip()))
        spots.append(readout(x, left, right, f"step {group[0]:.0f}", shown[:4]))
    return spots


def columns(
    title: str,
    rows: Sequence[tuple[str, Mapping[str, float]]],
    names: Mapping[str, int],
    *,
    caption: str = "",
) -> Html:
    """Stacked columns: each row is a label and its amounts by name; `names` gives order and colours."""
    tallest = max((sum(amounts.values()) for _, amounts in rows), default=0.0)
    if tallest <= 0:
        return Html("")
    x, y = Axis(0, len(rows), LEFT, WIDTH - RIGHT), upward([0.0, tallest], floor=0.0)
    drawing = grid(x, y, percent=False, steps=False)
    gap = 1.5 if len(rows) < 40 else 0.6
    every = math.ceil(len(rows) / 7)
    spots = []
    for at, (label, amounts) in enumerate(rows):
        left, right, base = x.at(at), x.at(at + 1), 0.0
        for name, index in names.items():
            amount = amounts.get(name, 0.0)
            if amount > 0:
                top, bottom = y.at(base + amount), y.at(base)
                width = right - left - gap
                drawing.append(box(left + gap / 2, top, width, bottom - top, colour(index)))
                base += amount
        if at % every == 0:
            drawing.append(write(label, (left + right) / 2, HEIGHT - 9, anchor="middle"))
        largest = sorted(
            ((n, amounts.get(n, 0.0)) for n in names if amounts.get(n, 0.0) > 0), key=lambda p: -p[1]
        )
        spots.append(readout(x, left, right, label, [(names[n], f"{n} {number(v)}") for n, v in largest[:4]]))
    used = [(index, name) for name, index in names.items() if any(amounts.get(name) for _, amounts in rows)]
    baseline = tag("line", class_="axis", x1=x.start, x2=x.end, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM)
    return figure(title, [*drawing, baseline, *spots], key=legend(used), caption=caption)


def stacked(
    title: str,
    steps: Sequence[tuple[int, Mapping[str, float]]],
    names: Mapping[str, int],
    *,
    caption: str = "",
) -> Html:
    """Stacked columns over steps; a long run shows the mean of neighbouring steps."""
    size = math.ceil(len(steps) / _COLUMNS) if steps else 1
    rows = []
    for at in range(0, len(steps), size):
        group = steps[at : at + size]
        means = {name: sum(amounts.get(name, 0.0) for _, amounts in group) / len(group) for name in names}
        rows.append((str(group[0][0]), means))
    if size > 1:
        caption = f"{caption} Each column is the mean of {size} steps.".strip()
    return columns(title, rows, names, caption=caption)
