"""What practising a cluster (or a task) is worth: learnability times progress, and who should be chosen for it.

Rates p are handled as psi = arcsin(sqrt p), where a rate from n rollouts has the standard deviation 1 / (2 sqrt n)
whatever p is (Anscombe 1948), and p(1 - p) = sin^2(2 psi) / 4. The published bandit leaves its reward open, and its
code takes the success rate, which leads to the easiest cluster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CORRELATION_GROUPS = 20.0  # groups that the prior guess of the correlation counts for
_LARGEST_CORRELATION = 0.95


@dataclass(frozen=True, slots=True)
class Belief:
    """For K clusters or tasks, float64[K] each: the rate as psi with its standard deviation, the correlation of
    rollouts on one task, and the factor that progress gives, in [floor, 1]."""

    psi: Floats
    deviation: Floats
    correlation: Floats
    progress: Floats

    def learnability(self) -> Floats:
        """4 E[p_i (1 - p_i)] over the items of each at the mean rate: in [0, 1], 1 when all are at a half."""
        return np.asarray(np.sin(2.0 * self.psi) ** 2 * (1.0 - self.correlation))

    def value(self) -> Floats:
        """Learnability times progress."""
        return self.learnability() * self.progress


def correlations(counts: Mapping[str, Floats], guess: float) -> Floats:
    """rho = 1 - E[p_i (1 - p_i)] / p(1 - p): how much of the variance of successes lies between items. 0 when all
    items are alike, 1 when each is always or never solved. Shrunk to `guess`, which counts for 20 groups; a rate
    that drifts within the half-life adds to it."""
    rate = np.divide(
        counts["won"], counts["tried"], out=np.full_like(counts["won"], 0.5), where=counts["tried"] > 0
    )
    total = rate * (1.0 - rate)
    inside = counts["spread"] + _CORRELATION_GROUPS * (1.0 - guess) * total
    overall = (counts["groups"] + _CORRELATION_GROUPS) * total
    share = np.divide(inside, overall, out=np.full_like(inside, 1.0 - guess), where=overall > 1e-12)
    return np.clip(1.0 - share, 0.0, _LARGEST_CORRELATION)


def believe(
    counts: Mapping[str, Floats],
    prior: Mapping[str, Floats],
    correlation: Floats,
    threshold: float,
    floor: float,
) -> Belief:
    """Beliefs from counts and prior counts (`won`, `tried` and the recent ones, in rollouts), float64[K] each.

    Progress is floor + (1 - floor) P(|change| > threshold): the recent rate against the one before it, on psi,
    under a normal posterior. It is near 1 where little is known, falls to the floor where much is known and
    nothing moves (noise, or nothing left to learn), and counts forgetting as much as gain.
    """
    size = np.divide(
        counts["tried"], counts["groups"], out=np.ones_like(correlation), where=counts["groups"] > 0
    )
    design = 1.0 + (np.maximum(size, 1.0) - 1.0) * correlation
    sums = {name: counts[name] + prior[name] for name in ("won", "tried", "recent_won", "recent_tried")}
    won = sums["won"] + counts["guess_won"]
    tried = sums["tried"] + counts["guessed"]
    before_won = np.maximum(sums["won"] - sums["recent_won"], 0.0)
    before = np.maximum(sums["tried"] - sums["recent_tried"], 0.0)
    change = _psi(sums["recent_won"], sums["recent_tried"]) - _psi(before_won, before)
    with np.errstate(divide="ignore"):
        deviation = np.sqrt(design / 4.0 * (1.0 / sums["recent_tried"] + 1.0 / before))
        own = np.minimum(np.sqrt(design / (4.0 * tried)), math.pi / 4.0)
    moved = _normal((change - threshold) / deviation) + _normal((-change - threshold) / deviation)
    return Belief(_psi(won, tried), own, correlation, floor + (1.0 - floor) * np.clip(moved, 0.0, 1.0))


def prior_from(parent: Mapping[str, Floats], strength: float) -> dict[str, Floats]:
    """Counts of `strength` rollouts that look like those of the parent (the cluster of a task, all of a
    cluster); half of them solved, and none recent, where the parent has none."""
    scale = np.divide(
        strength, parent["tried"], out=np.zeros_like(parent["tried"]), where=parent["tried"] > 0
    )
    prior = {name: scale * parent[name] for name in ("won", "tried", "recent_won", "recent_tried")}
    empty = scale == 0
    prior["won"] = np.where(empty, strength / 2.0, prior["won"])
    prior["tried"] = np.where(empty, strength, prior["tried"])
    return prior


def thompson(belief: Belief, samples: int, rng: np.random.Generator) -> Floats:
    """Probability of having the highest value, float64[K], from `samples` draws of the rates; ties share."""
    psi = belief.psi + belief.deviation * rng.standard_normal((samples, len(belief.psi)))
    value = np.sin(2.0 * psi) ** 2 * ((1.0 - belief.correlation) * belief.progress)
    best = value == value.max(axis=1, keepdims=True)
    return np.asarray((best / best.sum(axis=1, keepdims=True)).mean(axis=0))


def ucb(belief: Belief, groups: Floats, confidence: float, temperature: float) -> Floats:
    """softmax((value + confidence sqrt(2 ln(N + 1) / (n + 1))) / temperature), float64[K], with n the fading count
    of groups (discounted UCB, Garivier & Moulines 2011)."""
    index = belief.value() + confidence * np.sqrt(2.0 * np.log1p(groups.sum()) / (groups + 1.0))
    weights = np.exp((index - index.max()) / temperature)
    return np.asarray(weights / weights.sum())


def _psi(won: Floats, tried: Floats) -> Floats:
    rate = np.divide(won, tried, out=np.full_like(tried, 0.5), where=tried > 0)
    return np.asarray(np.arcsin(np.sqrt(np.clip(rate, 0.0, 1.0))))


def _normal(x: Floats) -> Floats:
    """The normal distribution function by the logistic one, within 0.01 (Bowling et al. 2009, slope 1.702)."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.851 * x)))
