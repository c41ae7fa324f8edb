"""Fixed shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.base import Curriculum
from azrl.curriculum.rules import within


class Proportional(Curriculum):
    """Each arm in proportion to its weight, at every step; with the sizes of datasets as weights, that is drawing
    from their union. Every arm needs a weight of at least 0, and not all may be 0."""

    name = "proportional"

    def __init__(self, arms: Sequence[str], *, weights: Mapping[str, float]) -> None:
        super().__init__(arms)
        if not isinstance(weights, Mapping):
            raise ValueError(f"weights should map each arm to a number, got {weights!r}")
        self.weights = dict(weights)
        self._check_arms(self.arms)

    def _check_arms(self, arms: Sequence[str]) -> None:
        missing = [arm for arm in arms if arm not in self.weights]
        if missing:
            raise ValueError(f"weights names no weight for {', '.join(missing)}")
        if not sum(within(f"weights[{arm!r}]", self.weights[arm], 0.0) for arm in arms) > 0:
            raise ValueError("weights are all 0")

    def _probabilities(self, step: int) -> NDArray[np.float64]:
        return np.array([self.weights[arm] for arm in self.arms], dtype=np.float64)

    def explain(self) -> dict[str, float]:
        return {arm: float(self.weights[arm]) for arm in self.arms}
