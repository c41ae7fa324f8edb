"""All arms alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.base import Curriculum


class Uniform(Curriculum):
    """The same share for every arm at every step, and no memory. Over the three task kinds this is the fixed
    third each of Absolute Zero (arXiv 2505.03335); the control that every other curriculum must beat."""

    name = "uniform"

    def _probabilities(self, step: int) -> NDArray[np.float64]:
        return np.ones(len(self.arms))

    def explain(self) -> dict[str, float]:
        return dict.fromkeys(self.arms, 1.0 / len(self.arms))
