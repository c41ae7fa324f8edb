"""After a re-clustering the draws change at once; let them fade over, and hold the policy closer meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stabiliser:
    """Step s after a re-clustering, s = 0 right after it: the old distribution has the weight
    alpha(s) = 1 - s / steps, and the KL penalty is base * scale^(1 - s / steps), that is base * scale * rho^s with
    rho = scale^(-1 / steps) (ZRC, "stabilisation"): `scale` times the base at first and the base from s = steps on.
    s = None is outside of any."""

    steps: int
    kl_base: float
    kl_scale: float

    def old_weight(self, since: int | None) -> float:
        """alpha(s), in [0, 1]."""
        return 0.0 if since is None else max(0.0, 1.0 - since / self.steps)

    def multiplier(self, since: int | None) -> float:
        """What the KL penalty is multiplied by, in [1, kl_scale]."""
        return float(self.kl_scale ** self.old_weight(since))

    def mix(self, old: Floats, new: Floats, since: int | None) -> Floats:
        """alpha P_old + (1 - alpha) P_new over tasks, float64[N]. `old` has 0 for tasks that came later and need
        not sum to 1 after some have gone; when none of its tasks is left, `new` alone."""
        total, weight = old.sum(), self.old_weight(since)
        if weight == 0.0 or not total > 0:
            return new
        return np.asarray(weight * old / total + (1.0 - weight) * new)


def with_floor(p: Floats, floor: float) -> Floats:
    """(1 - floor) p + floor / N: no task has less than floor / N."""
    return np.asarray((1.0 - floor) * p + floor / len(p))
