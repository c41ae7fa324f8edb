"""The clusters there are: their members, means and change-point detectors, through every re-clustering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.zrc import saved
from azrl.curriculum.zrc.changepoint import ChangePoint
from azrl.curriculum.zrc.dpmeans import choose_penalty, dp_means, match, means_of, squared_distances, sweep
from azrl.curriculum.zrc.features import features, spread_of
from azrl.curriculum.zrc.settings import Settings

Floats = NDArray[np.float64]

_SAME = 0.5  # a cluster that shares less of its members (Jaccard) with what it was is watched anew


class Clusters:
    """`labels` gives each task's cluster id, int64[N] in the table's order. Ids are never reused; a hard
    re-clustering hands an id on to the new cluster that shares most tasks with the old one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.labels = np.zeros(0, dtype=np.int64)
        self.detectors: dict[int, ChangePoint] = {}
        self._means: dict[int, Floats] = {}
        self._penalty = 1.0
        self._scale = (0.5, 1.0)
        self._next = 0

    @property
    def ids(self) -> list[int]:
        """Cluster ids, ascending. Every one has tasks."""
        return sorted(self._means)

    def positions(self) -> NDArray[np.int64]:
        """Each task's cluster as a position in `ids`."""
        return np.searchsorted(np.array(self.ids, dtype=np.int64), self.labels)

    def sizes(self) -> NDArray[np.float64]:
        """How many tasks each cluster has, in the order of `ids`."""
        return np.bincount(self.positions(), minlength=len(self._means)).astype(np.float64)

    def add(self, meaning: Floats, difficulty: Floats) -> None:
        """New tasks, in the table's order: to the nearest mean, or to clusters of their own where enough of them
        lie beyond the penalty together. The first ones are clustered from nothing."""
        if not len(self.labels):
            self.labels = np.full(len(meaning), -1, dtype=np.int64)
            self.anew(meaning, difficulty)
            return
        points = self._points(meaning, difficulty)
        ids = self.ids
        means = np.array([self._means[cluster] for cluster in ids])
        found = sweep(points, means, self._penalty)
        sizes = np.bincount(found, minlength=len(ids))
        few = (found >= len(ids)) & (sizes[found] < self._settings.min_size)
        found[few] = squared_distances(points[few], means).argmin(axis=1)
        fresh = np.zeros(len(points), dtype=np.int64)
        for cluster in np.unique(found):
            members = found == cluster
            if cluster < len(ids):
                fresh[members] = ids[cluster]
            else:
                fresh[members] = self._open(points[members].mean(axis=0))
        self.labels = np.concatenate([self.labels, fresh])

    def remove(self, gone: NDArray[np.bool_]) -> None:
        """Forget the tasks that are marked; clusters left empty vanish."""
        self._relabel(self.labels[~gone])

    def reassign(self, meaning: Floats, difficulty: Floats) -> None:
        """Soft: each task to the nearest of the means there are, which stay. Clusters left empty vanish."""
        ids = np.array(self.ids, dtype=np.int64)
        means = np.array([self._means[cluster] for cluster in ids])
        nearest = squared_distances(self._points(meaning, difficulty), means).argmin(axis=1)
        self._relabel(ids[nearest])

    def anew(self, meaning: Floats, difficulty: Floats) -> None:
        """Hard: DP-means from nothing, on difficulties scaled as they are now."""
        self._scale = spread_of(difficulty)
        points = self._points(meaning, difficulty)
        self._penalty = self._settings.penalty or choose_penalty(points, self._settings.clusters)
        found = dp_means(points, self._penalty, min_size=self._settings.min_size)
        means = means_of(points, found)
        old = {fresh: known for fresh, known in match(found, self.labels).items() if known >= 0}
        names = np.array([old[k] if k in old else self._open(means[k]) for k in range(len(means))])
        self._means.update(zip(names.tolist(), means, strict=True))
        self._relabel(names[found])

    def _points(self, meaning: Floats, difficulty: Floats) -> Floats:
        return features(meaning, difficulty, self._settings.difficulty_weight, *self._scale)

    def _open(self, mean: Floats) -> int:
        cluster, self._next = self._next, self._next + 1
        self._means[cluster], self.detectors[cluster] = mean, self._detector()
        return cluster

    def _relabel(self, labels: NDArray[np.int64]) -> None:
        """Take over labels; drop clusters without tasks and watch those anew that are hardly what they were."""
        present = set(labels.tolist())
        self._means = {cluster: mean for cluster, mean in self._means.items() if cluster in present}
        if len(labels) == len(self.labels):
            for cluster in present:
                was, now = self.labels == cluster, labels == cluster
                if (was & now).sum() < _SAME * (was | now).sum():
                    self.detectors[cluster] = self._detector()
        self.detectors = {c: detector for c, detector in self.detectors.items() if c in present}
        self.labels = labels

    def _detector(self) -> ChangePoint:
        return ChangePoint(self._settings.hazard, self._settings.window, self._settings.soft_threshold)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs; JSON-able."""
        return {
            "labels": self.labels.tolist(),
            "ids": self.ids,
            "means": [self._means[cluster].tolist() for cluster in self.ids],
            "detectors": [self.detectors[cluster].state_dict() for cluster in self.ids],
            "penalty": self._penalty,
            "scale": list(self._scale),
            "next": self._next,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace everything; KeyError, TypeError or ValueError on anything that `state_dict` does not give."""
        labels = saved.counts("labels", state["labels"])
        ids = saved.counts("ids", state["ids"]).tolist()
        if sorted(set(labels.tolist())) != ids:
            raise ValueError("the labels of a cluster state must name its clusters, each at least once")
        detectors = {}
        for cluster, memory in zip(ids, state["detectors"], strict=True):
            detectors[cluster] = self._detector()
            detectors[cluster].load_state_dict(memory)
        means = [saved.floats("means", mean) for mean in state["means"]]
        centre, spread = saved.floats("scale", state["scale"], (2,)).tolist()
        penalty, following = (
            saved.number("penalty", state["penalty"], 0.0),
            saved.count("next", state["next"]),
        )
        if spread <= 0 or penalty <= 0 or following <= max(ids, default=-1):
            raise ValueError(
                f"scale {spread} and penalty {penalty} should be above 0, and next {following} unused"
            )
        self._means = dict(zip(ids, means, strict=True))
        self.labels, self.detectors = labels, detectors
        self._penalty, self._scale, self._next = penalty, (centre, spread), following
