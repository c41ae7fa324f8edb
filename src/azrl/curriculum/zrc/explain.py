"""The terms behind the probabilities, for logs and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.zrc.bandit import Belief

Floats = NDArray[np.float64]


def terms(names: Sequence[str], belief: Belief, others: Mapping[str, Floats]) -> dict[str, dict[str, float]]:
    """Rate, learnability, progress and correlation of each of K things, with other columns float64[K], by name."""
    columns = {
        "rate": np.sin(belief.psi) ** 2,
        "learnability": belief.learnability(),
        "progress": belief.progress,
        "correlation": belief.correlation,
        **others,
    }
    return {
        name: {term: float(column[k]) for term, column in columns.items()} for k, name in enumerate(names)
    }
