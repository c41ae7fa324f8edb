"""Has a cluster's success rate jumped? Bayesian online change-point detection that can say yes.

Adams & MacKay 2007 (arXiv 0710.3742) keep a posterior over the run length r_t, the steps since the last change.
With a constant hazard h the probability P(r_t = 0) is h whatever the data say, so a threshold on it never
fires. What the data do move is the mass on *short* runs: the statistic here is P(r_t <= window).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.zrc import saved

_NEGLIGIBLE = 1e-9  # run lengths with less posterior mass are forgotten
_LONGEST = 200  # and never more than so many are kept

_lgamma = np.vectorize(math.lgamma, otypes=[np.float64])


def effective_size(group_sizes: NDArray[np.float64], correlation: float) -> float:
    """How many independent rollouts groups of these sizes are worth when two rollouts of one group correlate by
    `correlation`: n / (1 + (g - 1) rho), with g the mean group size seen from a rollout (Kish 1965). 0 for
    no groups."""
    total = float(group_sizes.sum())
    if total == 0:
        return 0.0
    return total / (1.0 + (float((group_sizes**2).sum()) / total - 1.0) * correlation)


class ChangePoint:
    """Posterior over the run length of a stream of success counts, with a Beta(1, 1) prior after each change.

    `observe` takes a step's successes and trials, real numbers so that correlated rollouts can count for fewer,
    and returns True when a change is announced: once P(r <= window) exceeds `threshold`, and not again before
    it has fallen below half of it. A stream that has just begun is all short runs; nothing is announced until
    it has outlived them.
    """

    def __init__(self, hazard: float, window: int, threshold: float) -> None:
        self.hazard, self.window, self.threshold = hazard, window, threshold
        self.runs = np.zeros(1, dtype=np.int64)  # run lengths that are kept, ascending
        self.log_mass = np.zeros(1)  # log P(run | data) of each
        self.successes = np.zeros(1)  # trials since the run began, in two parts
        self.failures = np.zeros(1)
        self.armed = False

    def observe(self, successes: float, trials: float) -> bool:
        """Take in one step. ValueError unless 0 <= successes <= trials; a step of no trials changes nothing."""
        if not 0 <= successes <= trials < math.inf:
            raise ValueError(f"there cannot be {successes} successes in {trials} trials")
        if trials == 0:
            return False
        a, b = 1.0 + self.successes, 1.0 + self.failures
        failures = trials - successes
        # The binomial coefficient is the same for all run lengths and cancels.
        joint = self.log_mass + _log_beta(a + successes, b + failures) - _log_beta(a, b)
        grown = joint + math.log1p(-self.hazard)
        changed = np.logaddexp.reduce(joint) + math.log(self.hazard)
        mass = np.concatenate(([changed], grown))
        runs = np.concatenate(([0], self.runs + 1))
        # Adams & MacKay's Algorithm 1: a run of length 0 begins after this step, so it has no data yet.
        won = np.concatenate(([0.0], self.successes + successes))
        lost = np.concatenate(([0.0], self.failures + failures))
        mass -= np.logaddexp.reduce(mass)
        keep = mass > math.log(_NEGLIGIBLE)
        if keep.sum() > _LONGEST:
            keep &= mass >= np.sort(mass)[-_LONGEST]
        self.runs, self.successes, self.failures = runs[keep], won[keep], lost[keep]
        self.log_mass = mass[keep] - np.logaddexp.reduce(mass[keep])
        recent = self.recent()
        if self.armed and recent > self.threshold:
            self.armed = False
            return True
        if recent < self.threshold / 2:
            self.armed = True
        return False

    def recent(self) -> float:
        """P(r <= window): that the last change is at most `window` steps old."""
        return float(np.exp(self.log_mass[self.runs <= self.window]).sum())

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs; JSON-able."""
        return {
            "runs": self.runs.tolist(),
            "log_mass": self.log_mass.tolist(),
            "successes": self.successes.tolist(),
            "failures": self.failures.tolist(),
            "armed": self.armed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the memory; KeyError, TypeError or ValueError on anything that `state_dict` does not give."""
        runs = saved.counts("runs", state["runs"])
        if not len(runs):
            raise ValueError("runs should name one run length at least")
        log_mass = saved.floats("log_mass", state["log_mass"], runs.shape)
        won, lost = (saved.floats(key, state[key], runs.shape, low=0.0) for key in ("successes", "failures"))
        self.armed = saved.truth("armed", state["armed"])
        self.runs, self.log_mass, self.successes, self.failures = runs, log_mass, won, lost


def _log_beta(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(_lgamma(a) + _lgamma(b) - _lgamma(a + b))
