"""What the curriculum asked for and why: quotas, chances, and a picture for each term behind them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from azrl.runs.report.charts import Series, lines, stacked
from azrl.runs.report.data import RunData
from azrl.runs.report.frame import cards
from azrl.runs.report.markup import Html, join, tag
from azrl.runs.report.palette import KIND_COLOURS, by_kind, kind_of
from azrl.runs.report.plots import heatmap

_CELLS = 40  # columns of a heat map
_CLUSTERS = 16  # rows of one over clusters
_CLUSTER_COLOUR = 4


def curriculum_section(run: RunData) -> Html:
    """How many tasks of each arm were asked for, by which chances, and what those were made of."""
    arms = run.names("curriculum/")
    if not arms:
        return tag("p", "No quotas were recorded.", class_="gone")
    kinds = {kind: KIND_COLOURS.get(kind, 9) for kind in by_kind(arms)}
    asked = [line for line in run.steps if any(f"curriculum/{arm}" in line for arm in arms)]
    mix = [(int(line["step"]), {kind: _sum(line, arms, kind) for kind in kinds}) for line in asked]
    met = Series("", run.series("spec/met"), 2)
    gap = Series("", run.series("spec/rate_gap"), 5)
    drawn = cards(
        _map(asked, "Tasks drawn, by kind and bin", {arm: f"curriculum/{arm}" for arm in arms}, missing=0.0),
        stacked("Tasks drawn a step, by kind", mix, kinds),
        _map(
            run.steps,
            "Chance of each arm in one draw",
            {arm: f"curriculum_share/{arm}" for arm in run.names("curriculum_share/")},
        ),
        lines("Admitted programs of the size asked for", [met], percent=True, floor=0.0, ceiling=1.0),
        lines(
            "New tasks: distance from the solve rate asked for",
            [gap],
            floor=0.0,
            caption="Mean |p - target|.",
        ),
    )
    return join([drawn, _terms(run), _clusters(run)])


def _terms(run: RunData) -> Html:
    """A picture for each term of `explain()`: over arms where it has a value for each, a line where it has one."""
    arms = {*run.names("curriculum/"), *run.names("curriculum_share/")}
    families: defaultdict[str, dict[str, str]] = defaultdict(dict)
    single = []
    for name in run.names("curriculum_terms/"):
        arm, _, term = name.rpartition("/")
        if not arm and name not in arms:
            single.append(name)
        else:
            families[term if arm else "weight"][arm or name] = f"curriculum_terms/{name}"
    maps = [_map(run.steps, f"Term: {term}", rows) for term, rows in sorted(families.items())]
    curves = [
        lines(f"Term: {name}", [Series("", run.series(f"curriculum_terms/{name}"), 3)]) for name in single
    ]
    return _titled("What the chances are made of", [*maps, *curves])


def _clusters(run: RunData) -> Html:
    """ZRC's clusters of stored tasks; the numbers of clusters that were there longest are shown."""
    families: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name in run.names("cluster_terms/"):
        cluster, _, term = name.rpartition("/")
        families[term][cluster] = f"cluster_terms/{name}"
    made = [int(step) for step, value in run.series("reclustered") if value]
    told = (
        f" Clustered anew at step {', '.join(map(str, made[:12]))}{' and later' if len(made) > 12 else ''}."
    )
    maps = []
    for term, rows in sorted(families.items()):
        longest = sorted(rows, key=lambda cluster: -len(run.series(rows[cluster])))[:_CLUSTERS]
        shown = {
            f"cluster {name}": rows[name] for name in sorted(longest, key=lambda name: (len(name), name))
        }
        left = (
            f" {len(rows) - len(shown)} short-lived clusters are left out." if len(rows) > len(shown) else ""
        )
        maps.append(
            _map(
                run.steps,
                f"Clusters of stored tasks: {term}",
                shown,
                colours=dict.fromkeys(shown, _CLUSTER_COLOUR),
                caption=(told if made else "") + left,
            )
        )
    return _titled("Clusters of stored tasks", maps)


def _titled(title: str, figures: Sequence[Html]) -> Html:
    shown = cards(*figures)
    return join([tag("h3", title), shown]) if shown else Html("")


def _map(
    steps: Sequence[Mapping[str, float]],
    title: str,
    keys: Mapping[str, str],
    *,
    missing: float | None = None,
    colours: Mapping[str, int] | None = None,
    caption: str = "",
) -> Html:
    """A heat map of metrics over steps, a row for each name in `keys`; a cell is the mean of its steps, and is left
    empty where none has a value, unless `missing` stands for one."""
    kept = [line for line in steps if missing is not None or any(key in line for key in keys.values())]
    if not kept:
        return Html("")
    size = math.ceil(len(kept) / _CELLS)
    groups = [kept[at : at + size] for at in range(0, len(kept), size)]
    rows = [(name, [_mean(group, key, missing) for group in groups]) for name, key in keys.items()]
    return heatmap(
        title,
        rows,
        [f"{group[0]['step']:.0f}" for group in groups],
        colours=colours or {name: KIND_COLOURS.get(kind_of(name), 9) for name in keys},
        caption=f"From left to right: steps, {size} a cell. Deepest: the largest.{caption}",
    )


def _mean(group: Sequence[Mapping[str, float]], key: str, missing: float | None) -> float | None:
    found = [line.get(key, missing) for line in group]
    values = [value for value in found if value is not None]
    return sum(values) / len(values) if values else None


def _sum(line: Mapping[str, float], arms: Sequence[str], kind: str) -> float:
    return sum(line.get(f"curriculum/{arm}", 0.0) for arm in arms if kind_of(arm) == kind)
