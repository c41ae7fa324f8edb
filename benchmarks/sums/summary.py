"""What the runs say: steps to the threshold, censored at the horizon, against uniform's on the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from worlds.measure import interval

from sums.contest import EVERY, THRESHOLD

Run = dict[str, Any]
Floats = NDArray[np.float64]


def steps_to_threshold(run: Run, horizon: int) -> int:
    """The first measurement with a mean accuracy of at least 90 %; a run without one counts as all steps there
    are, so that no failure is dropped."""
    reached = _means(run) >= THRESHOLD
    return EVERY * int(reached.argmax()) if reached.any() else horizon


def ratio(values: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """Mean over mean, and its 95 % bootstrap interval over the seeds, which both share."""
    a, b = np.array(values, dtype=np.float64), np.array(others, dtype=np.float64)
    low, high = interval(lambda pick: float(a[pick].mean() / b[pick].mean()), len(a))
    return float(a.mean() / b.mean()), low, high


def table(runs: list[Run], place: str, horizon: int) -> str:
    """Markdown, a contender a line, fastest first."""
    by_name: dict[str, dict[int, Run]] = {}
    for run in runs:
        if run["place"] == place:
            by_name.setdefault(run["contender"], {})[run["seed"]] = run
    uniform = by_name.get("uniform", {})
    lines = [
        f"| {place} | seeds | reached | steps to 90 % | to uniform's | tokens to uniform's | final accuracy "
        "| to uniform's | groups that teach |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rows = {
        name: _row(own, [uniform[seed] for seed in own if seed in uniform], horizon)
        for name, own in by_name.items()
    }
    return "\n".join(lines + [f"| {name} | {row[1]} |" for name, row in sorted(rows.items(), key=_order)])


def _order(item: tuple[str, tuple[float, str]]) -> float:
    return item[1][0]


def _row(own: dict[int, Run], uniform: list[Run], horizon: int) -> tuple[float, str]:
    """Mean steps, to sort by, and the cells."""
    mine = list(own.values())
    steps = [steps_to_threshold(run, horizon) for run in mine]
    reached = sum(bool((_means(run) >= THRESHOLD).any()) for run in mine)
    final = [float(_means(run)[-1]) for run in mine]
    cells = [str(len(mine)), f"{reached}", _spread(steps, "{:.0f}")]
    paired = [own[run["seed"]] for run in uniform]
    usual = [steps_to_threshold(run, horizon) for run in uniform]
    cells.append(_ratio([steps_to_threshold(run, horizon) for run in paired], usual))
    cells.append(_ratio([run["tokens"] for run in paired], [run["tokens"] for run in uniform]))
    cells.append(_spread(final, "{:.3f}"))
    cells.append(_ratio([_means(run)[-1] for run in paired], [_means(run)[-1] for run in uniform]))
    cells.append(f"{100 * np.mean([run['informative'] for run in mine]):.0f} %")
    return float(np.mean(steps)), " | ".join(cells)


def _means(run: Run) -> Floats:
    return np.array(run["accuracy"], dtype=np.float64).mean(axis=1)


def _spread(values: Sequence[float], form: str) -> str:
    mean = form.format(np.mean(values))
    if len(values) < 2:
        return f"{mean} (one seed)"
    return f"{mean} ± {form.format(np.std(values, ddof=1) / np.sqrt(len(values)))}"


def _ratio(values: Sequence[float], others: Sequence[float]) -> str:
    if not values:
        return ""
    if len(values) < 2:
        return f"{values[0] / others[0]:.2f} (one seed)"
    return "{:.2f} [{:.2f}, {:.2f}]".format(*ratio(values, others))
