"""What the curriculum remembers: tasks, clusters, and where it stands between two re-clusterings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.zrc import difficulty, saved
from azrl.curriculum.zrc.bandit import correlations
from azrl.curriculum.zrc.changepoint import effective_size
from azrl.curriculum.zrc.clusters import Clusters
from azrl.curriculum.zrc.features import Projection, Vectors, checked_embeddings
from azrl.curriculum.zrc.settings import Settings
from azrl.curriculum.zrc.table import TaskTable, by_cluster

Floats = NDArray[np.float64]


class Memory:
    """Everything that is saved. Arguments have been checked, but for embeddings, which `add` checks first."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.step = 0
        self.draws = 0  # in this step
        self.table = TaskTable(settings.half_life, settings.recent_half_life)
        self.clusters = Clusters(settings)
        self.projection = Projection()
        self.meaning: Floats = np.zeros((0, 0))  # where each task lies, without its difficulty
        self.old: Floats = np.zeros(0)  # what was drawn from before the last re-clustering
        self.since: int | None = None  # steps of stabilisation done
        self.last = 0  # step of the last re-clustering
        self.pending = 0.0  # the largest announced probability that still waits for min_steps
        self.guessed = True  # the clusters rest on no outcome yet

    def add(self, ids: Sequence[str], embeddings: Vectors | None, rates: Floats) -> None:
        """New tasks, with the solve rates guessed of them, nan where there is no guess."""
        projection, meaning = self._place(ids, embeddings)
        usual = float(self.difficulties().mean()) if len(self.table) else 0.5
        self.projection = projection
        self.meaning = np.concatenate([self.meaning, meaning]) if len(self.table) else meaning
        self.table.add(ids, self.step, rates, self.settings.guess_strength)
        self.clusters.add(meaning, np.where(np.isfinite(rates), 1.0 - rates, usual))
        self.old = np.concatenate([self.old, np.zeros(len(ids))])

    def remove(self, rows: Sequence[int]) -> None:
        """Forget the tasks in these rows."""
        gone = np.zeros(len(self.table), dtype=bool)
        gone[list(rows)] = True
        self.table.remove(gone)
        self.clusters.remove(gone)
        self.meaning, self.old = self.meaning[~gone], self.old[~gone]

    def counts(self) -> tuple[dict[str, Floats], dict[str, Floats], NDArray[np.int64]]:
        """Counts of tasks and of clusters as of now, and each task's cluster as a position."""
        tasks, positions = self.table.counts(self.step), self.clusters.positions()
        return tasks, by_cluster(tasks, positions, len(self.clusters.ids)), positions

    def difficulties(self) -> Floats:
        """The intrinsic difficulty of each task, float64[N] in [0, 1], in the order of `tasks`."""
        tasks, clusters, positions = self.counts()
        strength = self.settings.prior_strength
        prior = difficulty.cluster_rates(clusters, strength)[positions]
        rates = difficulty.solve_rates(tasks, prior, strength)
        return difficulty.intrinsic(tasks, rates, self.settings.verification_weight, strength)

    def observe(self, won: Sequence[tuple[int, Floats]]) -> tuple[int, ...]:
        """Show each cluster's detector its step; the clusters that announce a change."""
        _, clusters, positions = self.counts()
        guess = self.settings.correlation
        correlation = np.maximum(correlations(clusters, guess), guess)
        seen: dict[int, list[Floats]] = {}
        for row, group in won:
            seen.setdefault(int(positions[row]), []).append(group)
        changes = []
        for k, groups in sorted(seen.items()):
            cluster = self.clusters.ids[k]
            trials = effective_size(np.array([float(len(group)) for group in groups]), float(correlation[k]))
            rate = float(np.concatenate(groups).mean())
            detector = self.clusters.detectors[cluster]
            if detector.observe(rate * trials, trials):
                changes.append(cluster)
                self.pending = max(self.pending, detector.recent())
        return tuple(changes)

    def due(self) -> bool:
        """Whether the step that is being recorded ends with a re-clustering: a change, or the first evidence, has
        waited for `min_steps`."""
        waited = self.step + 1 - self.last >= self.settings.min_steps
        return waited and (self.guessed or self.pending > 0) and len(self.table) > 0

    def recluster(self) -> str:
        """Make the clusters fit what is known now, and start to fade over; what was done."""
        hard = self.pending >= self.settings.hard_threshold
        kind = "first" if self.guessed else "hard" if hard else "soft"
        if kind == "soft":
            self.clusters.reassign(self.meaning, self.difficulties())
        else:
            self.clusters.anew(self.meaning, self.difficulties())
        self.since, self.last = 0, self.step
        self.pending, self.guessed = 0.0, False
        return kind

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs; JSON-able."""
        return {
            "step": self.step,
            "draws": self.draws,
            "table": self.table.state_dict(),
            "clusters": self.clusters.state_dict(),
            "projection": self.projection.state_dict(),
            "meaning": self.meaning.tolist(),
            "old": self.old.tolist(),
            "since": self.since,
            "last": self.last,
            "pending": self.pending,
            "guessed": self.guessed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace everything; KeyError, TypeError or ValueError on anything that `state_dict` does not give."""
        self.table.load_state_dict(state["table"])
        self.clusters.load_state_dict(state["clusters"])
        self.projection.load_state_dict(state["projection"])
        n = len(self.table)
        axes = len(self.projection.axes)
        self.meaning = saved.floats("meaning", np.reshape(state["meaning"], (n, axes)))
        self.old = saved.floats("old", state["old"], (n,), low=0.0)
        if self.clusters.labels.shape != (n,):
            raise ValueError(f"labels should be {n} numbers, one for each task")
        self.step, self.draws = saved.count("step", state["step"]), saved.count("draws", state["draws"])
        self.since = None if state["since"] is None else saved.count("since", state["since"])
        self.last = saved.count("last", state["last"])
        self.pending = saved.number("pending", state["pending"], 0.0, 1.0 + 1e-9)
        self.guessed = saved.truth("guessed", state["guessed"])

    def _place(self, ids: Sequence[str], embeddings: Vectors | None) -> tuple[Projection, Floats]:
        """The space of the tasks and where these lie in it, float64[n, Q]."""
        fitted = self.projection.centre
        if len(self.table) and (fitted is None) != (embeddings is None):
            have = "no embeddings" if fitted is None else "embeddings"
            raise ValueError(f"the tasks so far have {have}; register these likewise")
        if embeddings is None:
            return Projection(), np.zeros((len(ids), 0))
        vectors = checked_embeddings(embeddings, ids, None if fitted is None else len(fitted))
        projection = self.projection
        if fitted is None:
            projection = Projection()
            projection.fit(vectors, self.settings.dimensions)
        return projection, projection(vectors)
