"""Replay what gave most when last tried, what was tried long ago, and what was never tried."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum import signals
from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.rules import within


class Plr(Curriculum):
    """Prioritised level replay (arXiv 2010.03934), with arms as levels.

    Of the arms seen: (1 - rho) P_S + rho P_C, where P_S ~ (1 / rank)^(1/beta) by the score, which is mean |A|
    over the rollouts of the arm's last visit (rank 1 is the highest, ties share their mean rank), and P_C ~
    updates since that visit (alike for all when each was just visited). Arms never seen get, alike, the share
    that they have among the arms (the paper's proportionate annealing). One noisy visit decides a rank; coin
    flips keep the first.
    """

    name = "plr"

    def __init__(self, arms: Sequence[str], *, beta: float = 0.1, rho: float = 0.1) -> None:
        super().__init__(arms)
        self.beta = within("beta", beta, 0.0, above=True)
        self.rho = within("rho", rho, 0.0, 1.0)
        for name in ("score", "visited", "seen"):
            self._remember(name)
        self.run["updates"] = 0.0

    def _update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        self.run["updates"] += 1
        score, rollouts = signals.mean_by_arm(signals.magnitudes(outcomes), outcomes, self.index)
        visited = rollouts > 0
        self.memory["score"][visited] = score[visited]
        self.memory["visited"][visited] = self.run["updates"]
        self.memory["seen"][visited] = 1.0

    def _probabilities(self, step: int) -> NDArray[np.float64]:
        seen = self.memory["seen"] > 0
        share = np.where(seen, 0.0, 1.0 / len(seen))
        if not seen.any():
            return share
        by_rank = np.exp(-np.log(_ranks(self.memory["score"][seen])) / self.beta)
        stale = self.run["updates"] - self.memory["visited"][seen]
        if not stale.any():
            stale = np.ones_like(stale)
        replay = (1.0 - self.rho) * by_rank / by_rank.sum() + self.rho * stale / stale.sum()
        share[seen] = seen.mean() * replay
        return share

    def explain(self) -> dict[str, float]:
        return {f"{arm}/score": float(self.memory["score"][k]) for k, arm in enumerate(self.arms)}


def _ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for the highest; equal scores share the mean of their ranks."""
    _, group, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[group]
