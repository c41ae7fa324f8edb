"""What the frozen probe says: before, during and after, greedy and sampled, by kind and by bin."""

from __future__ import annotations

from azrl.runs.report.charts import Series, lines
from azrl.runs.report.data import RunData
from azrl.runs.report.frame import cards, number
from azrl.runs.report.markup import Html, join, tag
from azrl.runs.report.palette import KIND_COLOURS, by_kind, kind_of
from azrl.runs.report.plots import Change, changes

MEASURES = (("sampled", 0), ("greedy", 3), ("pass@8", 4))


def probe_section(run: RunData) -> Html:
    """Curves, then start against end for each kind and bin, then the numbers themselves."""
    if not any(run.series(f"probe/{measure}") for measure, _ in MEASURES):
        return tag(
            "p",
            "No probe was measured in this run, so nothing here says whether the model learned.",
            class_="gone",
        )
    overall = [_series(run, measure, measure, colour) for measure, colour in MEASURES]
    kinds = by_kind(run.names("probe/sampled/") + run.names("probe/greedy/"))
    figures = [lines("Probe accuracy, mean over kinds", overall, percent=True)]
    for measure, _ in MEASURES[:2]:
        each = [_series(run, f"{measure}/{kind}", kind, KIND_COLOURS.get(kind, 9)) for kind in kinds]
        figures.append(lines(f"{measure.capitalize()} pass@1 by kind", each, percent=True))
    told = "Hollow: first probe. Full: last probe. Bars: one standard error."
    for measure, _ in MEASURES:
        rows = [change(run, f"{measure}/{kind}", kind, KIND_COLOURS.get(kind, 9)) for kind in kinds]
        figures.append(
            changes(f"{_name(measure)} by kind, start to end", [r for r in rows if r], caption=told)
        )
    for measure, _ in MEASURES:
        suffixes = [s for kind in kinds for s in run.names(f"probe/{measure}/") if s.startswith(f"{kind}/")]
        rows = [
            change(run, f"{measure}/{s}", s.replace("/", " · "), KIND_COLOURS.get(kind_of(s), 9))
            for s in suffixes
        ]
        figures.append(changes(f"{_name(measure)} by kind and bin", [r for r in rows if r], caption=told))
    return join([cards(*figures), _table(run)])


def change(run: RunData, suffix: str, name: str, colour: int) -> Change | None:
    """First and last measurement of one probe value; None when it was measured less than twice."""
    points, errors = run.series(f"probe/{suffix}"), dict(run.series(f"probe/stderr/{suffix}"))
    if len(points) < 2:
        return None
    (first, start), (last, end) = points[0], points[-1]
    return Change(name, start, errors.get(first, 0.0), end, errors.get(last, 0.0), colour)


def _name(measure: str) -> str:
    return measure if "@" in measure else f"{measure.capitalize()} pass@1"


def _series(run: RunData, suffix: str, name: str, colour: int) -> Series:
    points, errors = run.series(f"probe/{suffix}"), dict(run.series(f"probe/stderr/{suffix}"))
    return Series(name, points, colour, tuple(errors.get(step, 0.0) for step, _ in points) if errors else ())


def _table(run: RunData) -> Html:
    """Every probe value at its first and last measurement, for those who want digits."""
    rows = []
    for suffix in run.names("probe/"):
        points, errors = run.series(f"probe/{suffix}"), dict(run.series(f"probe/stderr/{suffix}"))
        if suffix.startswith("stderr/") or not suffix.startswith(tuple(m for m, _ in MEASURES)):
            continue
        shown = [tag("th", suffix)]
        for step, value in (points[0], points[-1])[: len(points)]:
            error = f" ± {100 * errors[step]:.1f}" if step in errors else ""
            shown.append(tag("td", f"{number(value, True)}{error}"))
        if len(points) > 1:
            shown.append(tag("td", f"{100 * (points[-1][1] - points[0][1]):+.1f} pt"))
        rows.append(tag("tr", *shown))
    first = tag("tr", tag("th", "measure"), tag("th", "first"), tag("th", "last"), tag("th", "change"))
    return tag(
        "details", tag("summary", "All probe numbers"), tag("div", tag("table", first, *rows), class_="wide")
    )
