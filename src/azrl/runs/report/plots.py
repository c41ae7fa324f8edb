"""Charts of totals: what changed from start to end, a funnel, and a table painted by value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from azrl.runs.report.charts import whisker
from azrl.runs.report.frame import WIDTH, Axis, box, colour, figure, number, ticks, write
from azrl.runs.report.markup import Html, tag

_ROW = 22.0
_NAME = 92.0  # where the names of rows end


@dataclass(frozen=True, slots=True)
class Change:
    """A value and its standard error (0 when unknown) before and after."""

    name: str
    start: float
    start_error: float
    end: float
    end_error: float
    colour: int


def changes(title: str, rows: Sequence[Change], *, caption: str = "") -> Html:
    """A row each: hollow mark for the start, full one for the end, error bars on both, the gain in points."""
    if not rows:
        return Html("")
    ends = [value for row in rows for value in (row.start, row.end)]
    x = Axis(max(0.0, min(ends) - 0.05), min(1.0, max(ends) + 0.05), _NAME + 8, WIDTH - 62)
    height = _ROW * len(rows) + 34
    drawing = []
    for value in ticks(x.low, x.high, 4):
        place = x.at(value)
        drawing.append(tag("line", class_="grid", x1=place, x2=place, y1=6, y2=height - 24))
        drawing.append(write(number(value, True), place, height - 9, anchor="middle"))
    for at, row in enumerate(rows):
        drawing += _change(row, x, 6 + _ROW * (at + 0.5))
    return figure(title, drawing, caption=caption, height=height)


def _change(row: Change, x: Axis, middle: float) -> list[Html]:
    style, before, after = colour(row.colour), x.at(row.start), x.at(row.end)
    parts = [
        write(row.name, _NAME, middle + 4, kind="name", anchor="end"),
        tag("line", x1=before, x2=after, y1=middle, y2=middle, class_="move", style=style),
    ]
    for place, value, error in ((before, row.start, row.start_error), (after, row.end, row.end_error)):
        if error:
            upright = whisker(0, x.at(value - error) - place, x.at(value + error) - place, style)
            parts.append(tag("g", upright, transform=f"translate({place:.1f} {middle:.1f}) rotate(-90)"))
    told = tag("title", f"{row.name}: {number(row.start, True)} to {number(row.end, True)}")
    parts.append(tag("circle", told, cx=before, cy=middle, r=4, class_="hollow", style=style))
    parts.append(tag("circle", told, cx=after, cy=middle, r=4.5, class_="dot", style=style))
    gain = 100 * (row.end - row.start)
    mood = "gain up" if gain >= 0 else "gain down"
    return [*parts, write(f"{gain:+.1f} pt", WIDTH - 2, middle + 4, kind=mood, anchor="end")]


def funnel(title: str, total: int, stages: Sequence[tuple[str, int, int]], *, caption: str = "") -> Html:
    """What is left after each stage: (refused for, refused, colour) in order; the first bar is `total`."""
    if total <= 0:
        return Html("")
    x = Axis(0, total, _NAME + 8, WIDTH - 96)
    rows, left = [("proposed", total, 0, 0, f"{total:,}")], total
    for name, lost, index in stages:
        left -= lost
        rows.append((name, left, lost, index, f"−{lost:,} · {100 * lost / total:.1f} %"))
    rows.append(("admitted", 0, left, 2, f"{left:,} · {100 * left / total:.1f} %"))
    drawing = []
    for at, (name, kept, coloured, index, told) in enumerate(rows):
        top = 3 + _ROW * at
        edge = x.at(kept)
        drawing.append(write(name, _NAME, top + 15, kind="name", anchor="end"))
        drawing.append(box(x.start, top + 2, edge - x.start, _ROW - 5, "", kind="kept"))
        drawing.append(box(edge, top + 2, x.at(kept + coloured) - edge, _ROW - 5, colour(index)))
        drawing.append(write(told, WIDTH - 2, top + 15, anchor="end"))
    return figure(title, drawing, caption=caption, height=_ROW * len(rows) + 6)


def heatmap(
    title: str,
    rows: Sequence[tuple[str, Sequence[float | None]]],
    heads: Sequence[str],
    *,
    colours: Mapping[str, int],
    caption: str = "",
) -> Html:
    """A table painted by value, from the smallest (or 0, where none is below) to the largest (or 0, where none is
    above), which is deepest; numbers stand where the cells are wide enough. None leaves its cell empty, and a table
    of nothing but zeros and None gives no figure."""
    known = [value for _, values in rows for value in values if value is not None]
    lowest, largest = min([0.0, *known]), max([0.0, *known])
    if largest == lowest:
        return Html("")
    x = Axis(0, len(heads), _NAME + 8, WIDTH - 4)
    height = _ROW * len(rows) + 26
    wide, every = (x.end - x.start) / len(heads) >= 34, max(1, round(len(heads) / 7))
    drawing = []
    for at, (name, values) in enumerate(rows):
        top = 3 + _ROW * at
        drawing.append(write(name, _NAME, top + 15, kind="name", anchor="end"))
        for place, (head, value) in enumerate(zip(heads, values, strict=True)):
            if value is None:
                continue
            left, right = x.at(place), x.at(place + 1)
            style = f"{colour(colours.get(name, 0))};--v:{(value - lowest) / (largest - lowest):.3f}"
            tip = f"{name}, {head}: {number(value)}"
            drawing.append(box(left, top + 1, right - left - 1, _ROW - 2, style, kind="cell", tip=tip))
            if wide:
                drawing.append(
                    write(number(value), (left + right) / 2, top + 15, kind="cellvalue", anchor="middle")
                )
    for place in range(0, len(heads), every):
        drawing.append(write(heads[place], x.at(place + 0.5), height - 8, anchor="middle"))
    return figure(title, drawing, caption=caption, height=height)
