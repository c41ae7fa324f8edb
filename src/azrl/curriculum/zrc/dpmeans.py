"""Clusters whose number the data decide: DP-means, with merging and dissolving of small clusters.

Kulis & Jordan 2012 (arXiv 1111.0352): minimise sum ||x - mean||^2 + penalty * clusters. A point farther than
`penalty` (a squared distance) from every mean opens a cluster of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

_SWEEPS = 100
_CLEAR = 0.5  # silhouette from which clusters count as clear
_SAMPLE = 1000


def squared_distances(points: Floats, means: Floats) -> Floats:
    """float64[N, K] of squared Euclidean distances, never negative."""
    cross = points @ means.T
    squares = (points**2).sum(axis=1)[:, None] - 2.0 * cross + (means**2).sum(axis=1)[None, :]
    return np.maximum(squares, 0.0)


def objective(points: Floats, labels: Labels, penalty: float) -> float:
    """What DP-means minimises, for labels 0..K-1 that all occur."""
    means = means_of(points, labels)
    return float(((points - means[labels]) ** 2).sum() + penalty * len(means))


def farthest_first(points: Floats, count: int) -> Floats:
    """Distances of up to `count` points from those before them, each the farthest there is, starting at the
    mean of all: non-increasing, fewer when points run out (Gonzalez 1985)."""
    nearest = ((points - points.mean(axis=0)) ** 2).sum(axis=1)
    found = []
    for _ in range(min(count, len(points))):
        pick = int(nearest.argmax())
        found.append(nearest[pick])
        nearest = np.minimum(nearest, ((points - points[pick]) ** 2).sum(axis=1))
    return np.sqrt(np.minimum.accumulate(np.array(found)))


def choose_penalty(points: Floats, clusters: int) -> float:
    """The penalty that separates these points best, a squared distance above 0.

    Candidates lie midway (geometrically) between successive farthest-first distances, up to the one for
    2 * `clusters` + 1 clusters, and below the last; each is tried on up to 1,000 points, and the clustering with
    the largest simplified silhouette wins. Where none reaches 0.5 there is no clear structure, and the penalty
    is Kulis and Jordan's for about `clusters` of them. Points that are all alike may have any; they get 1.
    """
    sample = points[:: -(-len(points) // _SAMPLE)]
    distances = farthest_first(sample, 2 * clusters + 2)
    distances = distances[distances > 1e-6 * max(distances[0], 1e-6)]
    if not len(distances):
        return 1.0
    candidates = np.append(distances[:-1] * distances[1:], distances[-1] ** 2 / 4.0)
    scores = np.array([silhouette(sample, dp_means(sample, penalty)) for penalty in candidates])
    if scores.max() >= _CLEAR:
        return float(candidates[scores.argmax()])
    return float(distances[min(clusters, len(distances)) - 1] ** 2)


def silhouette(points: Floats, labels: Labels) -> float:
    """Mean of 1 - a / b over points, with a the distance to the own mean and b to the nearest other (simplified
    silhouette, Hruschka et al. 2004). Points alone in their cluster count 0, as do all when there is one cluster."""
    distances = np.sqrt(squared_distances(points, means_of(points, labels)))
    if distances.shape[1] < 2:
        return 0.0
    rows = np.arange(len(points))
    own = distances[rows, labels].copy()
    distances[rows, labels] = np.inf
    other = distances.min(axis=1)
    larger = np.maximum(own, other)
    counts = (larger > 0) & (np.bincount(labels)[labels] > 1)
    return float(np.divide(other - own, larger, out=np.zeros_like(own), where=counts).mean())


def dp_means(points: Floats, penalty: float, *, min_size: int = 1) -> Labels:
    """Labels 0..K-1, numbered by first appearance. Sweeps until nothing changes; no sweep raises the objective.
    Then means closer than penalty / 2 (squared) are merged and clusters of fewer than `min_size` points
    dissolved into their nearest neighbours, unless there is no other cluster. The result is a local optimum
    that depends on the order of the points. No points give no labels."""
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    labels = np.zeros(len(points), dtype=np.int64)
    for _ in range(_SWEEPS):
        swept = _by_appearance(sweep(points, means_of(points, labels), penalty))
        if (swept == labels).all():
            break
        labels = swept
    return _by_appearance(_dissolve(points, _merge(points, labels, penalty / 2), min_size))


def sweep(points: Floats, means: Floats, penalty: float) -> Labels:
    """Each point to the nearest of K means, as 0..K-1; those beyond the penalty open clusters K, K+1, ... where
    they lie, in order, and all points may choose those already opened."""
    distances = squared_distances(points, means)
    labels, nearest = distances.argmin(axis=1), distances.min(axis=1)
    count = len(means)
    while (far := np.flatnonzero(nearest > penalty)).size:
        to_new = ((points - points[far[0]]) ** 2).sum(axis=1)
        closer = to_new < nearest
        labels[closer], nearest[closer] = count, to_new[closer]
        count += 1
    return labels


def _merge(points: Floats, labels: Labels, closest: float) -> Labels:
    """Join the two nearest means while they are closer than `closest`, squared."""
    while (count := labels.max() + 1) > 1:
        means = means_of(points, labels)
        distances = squared_distances(means, means) + np.diag(np.full(count, np.inf))
        one, other = divmod(int(distances.argmin()), int(count))
        if distances[one, other] >= closest:
            break
        labels = _by_appearance(np.where(labels == other, one, labels))
    return labels


def _dissolve(points: Floats, labels: Labels, min_size: int) -> Labels:
    """Give the points of the smallest cluster to their nearest other means while it has too few."""
    while (sizes := np.bincount(labels)).size > 1 and sizes.min() < min_size:
        smallest = int(sizes.argmin())
        distances = squared_distances(points, means_of(points, labels))
        distances[:, smallest] = np.inf
        labels = _by_appearance(np.where(labels == smallest, distances.argmin(axis=1), labels))
    return labels


def means_of(points: Floats, labels: Labels) -> Floats:
    """float64[K, Q], the mean of each of the clusters 0..K-1, which all have points."""
    sums = np.zeros((labels.max() + 1, points.shape[1]))
    np.add.at(sums, labels, points)
    return sums / np.bincount(labels)[:, None]


def _by_appearance(labels: Labels) -> Labels:
    """The same partition with labels 0..K-1 in order of first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[first.argsort()] = np.arange(len(first))
    return rank[inverse]


def match(new: Labels, old: Labels) -> dict[int, int]:
    """Which old label each new one continues: pairs by falling number of shared points, each label used
    once. New labels that share no point with a free old one are left out."""
    pairs, counts = np.unique(np.stack([new, old]), axis=1, return_counts=True)
    found: dict[int, int] = {}
    for pair in sorted(range(len(counts)), key=lambda i: (-counts[i], pairs[0, i], pairs[1, i])):
        fresh, known = int(pairs[0, pair]), int(pairs[1, pair])
        if fresh not in found and known not in found.values():
            found[fresh] = known
    return found
