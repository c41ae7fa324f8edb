"""What is known of each task: fading counts, a row a task. Clusters own no counts, so re-clustering loses none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.zrc import saved

Floats = NDArray[np.float64]

COUNTS = (
    "won",
    "tried",
    "recent_won",
    "recent_tried",
    "spread",
    "groups",
    "failed",
    "checked",
    "guess_won",
    "guessed",
)
"""Per task: rollouts solved and made, the same in the recent window, the sum of unbiased p(1 - p) over groups
and those groups, self-verifications that failed and were made, and the difficulty given at registration as
rollouts. All fade with the half-life, the recent ones with the shorter one."""

_RECENT = [COUNTS.index("recent_won"), COUNTS.index("recent_tried")]


class TaskTable:
    """Rows in order of registration. Counts are kept as of the step in which each row was last written and
    faded when read: a step costs the rows that it touches, not all."""

    def __init__(self, half_life: float, recent_half_life: float) -> None:
        self._rates = np.full(len(COUNTS), 0.5 ** (1.0 / half_life))
        self._rates[_RECENT] = 0.5 ** (1.0 / recent_half_life)
        self.ids: list[str] = []
        self.rows: dict[str, int] = {}
        self._counts = np.zeros((0, len(COUNTS)))
        self._written = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: Sequence[str], step: int, guessed_rate: Floats, strength: float) -> None:
        """New rows. `guessed_rate` is float64[n], the solve rate assumed of each, nan where nothing is."""
        fresh = np.zeros((len(ids), len(COUNTS)))
        known = np.isfinite(guessed_rate)
        fresh[known, COUNTS.index("guess_won")] = strength * guessed_rate[known]
        fresh[known, COUNTS.index("guessed")] = strength
        self.rows.update({task: len(self.ids) + i for i, task in enumerate(ids)})
        self.ids.extend(ids)
        self._counts = np.concatenate([self._counts, fresh])
        self._written = np.concatenate([self._written, np.full(len(ids), step, dtype=np.int64)])

    def remove(self, gone: NDArray[np.bool_]) -> None:
        """Drop the rows that are marked, with their counts."""
        self.ids = [task for task, drop in zip(self.ids, gone, strict=True) if not drop]
        self.rows = {task: row for row, task in enumerate(self.ids)}
        self._counts, self._written = self._counts[~gone], self._written[~gone]

    def record(self, row: int, step: int, rollouts: Floats, failures: Floats) -> None:
        """Add a group: float64 successes in [0, 1], one a rollout, and verification failures, maybe none."""
        n, won = len(rollouts), float(rollouts.sum())
        self._counts[row] = self._faded(row, step)
        self._written[row] = step
        add = dict.fromkeys(COUNTS, 0.0)
        add["won"] = add["recent_won"] = won
        add["tried"] = add["recent_tried"] = float(n)
        if n > 1:
            add["spread"], add["groups"] = won * (n - won) / (n * (n - 1)), 1.0
        add["failed"], add["checked"] = float(failures.sum()), float(len(failures))
        self._counts[row] += [add[name] for name in COUNTS]

    def counts(self, step: int) -> dict[str, Floats]:
        """Every count as of `step`, float64[tasks] each."""
        faded = self._counts * self._rates ** (step - self._written)[:, None]
        return {name: faded[:, column] for column, name in enumerate(COUNTS)}

    def _faded(self, row: int, step: int) -> Floats:
        return np.asarray(self._counts[row] * self._rates ** (step - self._written[row]))

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs; JSON-able."""
        return {"ids": list(self.ids), "written": self._written.tolist(), "counts": self._counts.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace all rows; KeyError, TypeError or ValueError on anything that `state_dict` does not give."""
        ids = [str(task) for task in state["ids"]]
        written = saved.counts("written", state["written"])
        counts = saved.floats("counts", np.reshape(state["counts"], (len(ids), len(COUNTS))), low=0.0)
        if written.shape != (len(ids),) or len(set(ids)) != len(ids):
            raise ValueError("a task table needs one row for each of different tasks")
        self.ids, self.rows = ids, {task: row for row, task in enumerate(ids)}
        self._counts, self._written = counts, written


def by_cluster(counts: Mapping[str, Floats], labels: NDArray[np.int64], clusters: int) -> dict[str, Floats]:
    """The same counts summed over clusters 0..clusters - 1: float64[clusters] each."""
    return {
        name: np.bincount(labels, weights=column, minlength=clusters).astype(np.float64)
        for name, column in counts.items()
    }
