"""A running mean and second moment of the rewards of each (kind, role) cell.

Curricula make cells small and uneven: with three samples a batch's own mean and std are mostly noise. The
running moments stand in for them, with the weight of `prior` samples:

    weight = prior / (prior + n);  moment = (1 - weight) * batch moment + weight * running moment

The running moments are ratios of decayed sums (sum <- decay * sum + batch sum), so that a batch counts for as
many samples as it has. Invariant: rewards are scored before they move the running moments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Cell = tuple[str, str]


class CellBaseline:
    """Running reward moments per cell. `prior` (samples, >= 0) is their weight against a batch; `decay` in
    [0, 1] is how much of the old evidence each later batch of that cell leaves. A cell never seen has none:
    its first batch stands on its own."""

    def __init__(self, prior: float = 16.0, decay: float = 0.9) -> None:
        if not prior >= 0:
            raise ValueError(f"prior must be at least 0, not {prior}")
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], not {decay}")
        self.prior = prior
        self.decay = decay
        self._sums: dict[Cell, tuple[float, float, float]] = {}  # count, sum, sum of squares; decayed

    def moments(self, cell: Cell, rewards: np.ndarray) -> tuple[float, float]:
        """(mean, population std) of `rewards` [n >= 1], shrunk towards the running ones of `cell`."""
        mean, second = float(rewards.mean()), float(np.square(rewards).mean())
        if cell in self._sums:
            count, total, squares = self._sums[cell]
            weight = self.prior / (self.prior + len(rewards))
            mean += weight * (total / count - mean)
            second += weight * (squares / count - second)
        return mean, max(second - mean * mean, 0.0) ** 0.5

    def observe(self, cell: Cell, rewards: np.ndarray) -> None:
        """Let the running moments of `cell` take in `rewards` [n >= 1]."""
        old = self._sums.get(cell, (0.0, 0.0, 0.0))
        new = (float(len(rewards)), float(rewards.sum()), float(np.square(rewards).sum()))
        count, total, squares = (self.decay * a + b for a, b in zip(old, new, strict=True))
        self._sums[cell] = (count, total, squares)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; `load_state_dict` reads it back exactly."""
        return {"cells": [[list(cell), *sums] for cell, sums in self._sums.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the running moments; ValueError when `state` is not what `state_dict` gave."""
        sums: dict[Cell, tuple[float, float, float]] = {}
        try:
            for (kind, role), count, total, squares in state["cells"]:
                sums[kind, role] = (float(count), float(total), float(squares))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the state of a cell baseline: {error!r}") from error
        if any(count <= 0 or not np.isfinite((count, a, b)).all() for count, a, b in sums.values()):
            raise ValueError("not the state of a cell baseline: a count or sum is out of range")
        self._sums = sums
