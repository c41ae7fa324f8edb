"""Choosing positions in an array of log weights: what to practise, what to show, what to let go."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

_LOG_TINY = -600.0  # e^-600: never drawn before the others, still above zero when they are gone


def relative(log_weights: Floats) -> Floats:
    """Weights up to a common factor: the largest is 1 and none is 0, however far apart the logarithms are."""
    if not len(log_weights):
        return np.zeros(0)
    weights = log_weights - log_weights.max()
    np.maximum(weights, _LOG_TINY, out=weights)
    return np.exp(weights, out=weights)


def draw(log_weights: Floats, n: int, rng: np.random.Generator) -> Positions:
    """Up to n distinct positions, in the order drawn, each in proportion to the weights not yet drawn.

    Draws with replacement and skips repeats, which has the law of successive draws without replacement;
    whatever a round leaves short is drawn again from the rest. Costs one pass over the weights a round.
    """
    weights = relative(log_weights)
    chosen: list[int] = []
    n = min(n, len(weights))
    while len(chosen) < n:
        cumulative = np.cumsum(weights)
        hits = np.searchsorted(cumulative, rng.random(n - len(chosen)) * cumulative[-1], side="right")
        fresh = list(dict.fromkeys(hits.tolist()))
        chosen += fresh
        weights[fresh] = 0.0
    return np.array(chosen, dtype=np.int64)


def lowest(values: Floats, n: int) -> Positions:
    """Positions of the n smallest values, ascending in position; of equal values the first ones."""
    if n <= 0:
        return np.zeros(0, dtype=np.int64)
    if n >= len(values):
        return np.arange(len(values))
    edge = np.partition(values, n - 1)[n - 1]
    below = np.flatnonzero(values < edge)
    ties = np.flatnonzero(values == edge)[: n - len(below)]
    return np.sort(np.concatenate([below, ties]))


def surplus(log_weights: Floats, kinds: NDArray[np.int8], max_size: int) -> Positions:
    """Positions to evict so that max_size remain: lowest weight first, of equal weights the oldest first.

    Each kind that is present owns max_size // kinds places. A kind gives up only what it holds above them, so
    none falls below its share while another is over. Together the surpluses always suffice.
    """
    excess = len(log_weights) - max_size
    if excess <= 0:
        return np.zeros(0, dtype=np.int64)
    present = np.unique(kinds)
    share = max_size // len(present)
    spare = []
    for kind in present:
        members = np.flatnonzero(kinds == kind)
        spare.append(members[lowest(log_weights[members], min(excess, len(members) - share))])
    candidates = np.sort(np.concatenate(spare))
    return candidates[lowest(log_weights[candidates], excess)]


def distinct(members: Positions, labels: NDArray[np.int64], k: int, rng: np.random.Generator) -> Positions:
    """Up to k of `members`, uniform without replacement and skipping labels already taken (`labels[i]` is the
    label of position i), in the order drawn. Takes time in k unless labels repeat much."""
    chosen: dict[int, int] = {}
    while len(chosen) < k and len(members):
        for position in members[rng.integers(len(members), size=k - len(chosen))]:
            chosen.setdefault(int(labels[position]), int(position))
        if len(chosen) < k:
            members = members[~np.isin(labels[members], list(chosen))]
    return np.array(list(chosen.values()), dtype=np.int64)
