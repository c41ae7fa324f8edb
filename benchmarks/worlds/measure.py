"""What a set of learning curves says, with bootstrap intervals over seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from worlds.learner import Array

_RESAMPLES = 2000


def interval(statistic: Callable[[NDArray[np.int64]], float], seeds: int) -> list[float]:
    """95 % percentile interval of a statistic of the seeds, resampled with replacement."""
    rng = np.random.default_rng(0)
    values = [statistic(rng.integers(0, seeds, seeds)) for _ in range(_RESAMPLES)]
    return [round(float(v), 4) for v in np.quantile(values, (0.025, 0.975))]


def steps_to(curves: Array, threshold: float) -> NDArray[np.int64]:
    """First step with at least this solve rate, for each seed; those that never get there count as all steps, so
    their mean is a restricted mean and failures are not dropped."""
    reached = curves >= threshold
    return np.where(reached.any(axis=1), reached.argmax(axis=1), curves.shape[1] - 1)


def compare(curves: Array, uniform: Array, oracle: Array) -> dict[str, float | list[float]]:
    """One contender against uniform and oracle, seed by seed; curves are [seeds, steps + 1]. `gap_closed` is the
    share of the distance from uniform to oracle in area under the curve; `speed_up` is the ratio of mean steps to
    98 % of uniform's final solve rate."""
    area, low, high = (c.mean(axis=1) for c in (curves, uniform, oracle))
    threshold = 0.98 * uniform[:, -1].mean()
    steps, usual = steps_to(curves, threshold), steps_to(uniform, threshold)

    def gap(pick: NDArray[np.int64]) -> float:
        return float((area[pick] - low[pick]).mean() / (high[pick] - low[pick]).mean())

    def speed(pick: NDArray[np.int64]) -> float:
        return float(usual[pick].mean() / steps[pick].mean())

    everyone = np.arange(len(curves))
    return {
        "area": round(float(area.mean()), 4),
        "final": round(float(curves[:, -1].mean()), 4),
        "gap_closed": round(gap(everyone), 4),
        "gap_closed_95": interval(gap, len(curves)),
        "steps_to_threshold": round(float(steps.mean()), 1),
        "reached": round(float((curves >= threshold).any(axis=1).mean()), 3),
        "speed_up": round(speed(everyone), 3),
        "speed_up_95": interval(speed, len(curves)),
    }
