"""From counts to a distribution over tasks: a bandit over clusters, then the worth of each task in its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.zrc.bandit import Belief, believe, correlations, prior_from, thompson, ucb
from azrl.curriculum.zrc.settings import Settings

Floats = NDArray[np.float64]
Counts = Mapping[str, Floats]


def beliefs(
    tasks: Counts, clusters: Counts, positions: NDArray[np.int64], settings: Settings
) -> tuple[Belief, Belief]:
    """What is believed of the clusters and of the tasks. Clusters lean on the mean of all, tasks on their
    cluster's, by `prior_strength` rollouts. A task's rollouts are taken to correlate only as far as they are seen
    to, which happens when a task stands for many, as an arm does."""
    overall = {name: np.full_like(column, column.sum()) for name, column in clusters.items()}
    own = {name: column[positions] for name, column in clusters.items()}
    strength, limits = settings.prior_strength, (settings.progress_threshold, settings.progress_floor)
    return (
        believe(
            clusters, prior_from(overall, strength), correlations(clusters, settings.correlation), *limits
        ),
        believe(tasks, prior_from(own, strength), correlations(tasks, 0.0), *limits),
    )


def distribution(
    tasks: Counts,
    clusters: Counts,
    positions: NDArray[np.int64],
    settings: Settings,
    rng: np.random.Generator,
) -> Floats:
    """P(task) = P(cluster) worth(task) / worth of all in the cluster, float64[N] that sums to 1. Tasks of a cluster
    in which nothing is worth anything are alike."""
    groups, items = beliefs(tasks, clusters, positions, settings)
    if settings.rule == "thompson":
        shares = thompson(groups, settings.samples, rng)
    else:
        shares = ucb(groups, clusters["tried"], settings.confidence, settings.temperature)
    worth = items.value() + 1e-9
    return np.asarray(shares[positions] * worth / np.bincount(positions, weights=worth)[positions])
