"""How much a task is worth practising.

    weight = E[p(1-p)]  x  (1 + visits)^-novelty  x  0.5^((step - last_step) / freshness_steps)

*Learnability*: the solve rate p has a Beta(alpha, beta) posterior. Its expected variance of one attempt,
alpha*beta / ((alpha+beta)(alpha+beta+1)), is what a group of rollouts can teach (LILO, arXiv 2502.12272).
A task never attempted has Beta(1, 1) and 1/6; the supremum is 1/4; always or never solved tends to 0 but
never gets there, so that nothing is lost for good. *Novelty* spreads visits. *Freshness* halves the weight
every `freshness_steps` steps since the task was made or last practised: old evidence speaks of an older
solver.

The factor 0.5^(step / freshness_steps) is common to all tasks, so the logarithm kept here leaves it out: it
changes only when the task is visited, and its differences are what sampling and eviction need. Scalars go
through `math`, not through vectorised functions whose last bit may depend on an array's layout, so that a
weight computed again from the stored row is the same to the bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weighting:
    """The three knobs: `decay` of old evidence at each visit, the `novelty` exponent, and the half-life in
    steps of an unvisited task's weight (`math.inf` turns freshness off)."""

    decay: float = 0.8
    novelty: float = 0.5
    freshness_steps: float = 200.0

    def __post_init__(self) -> None:
        if not 0.0 < self.decay <= 1.0:
            raise ValueError(f"decay must be in (0, 1], got {self.decay}")
        if not 0.0 <= self.novelty < math.inf:
            raise ValueError(f"novelty must be finite and not negative, got {self.novelty}")
        if not self.freshness_steps > 0.0:
            raise ValueError(f"freshness_steps must be above 0, got {self.freshness_steps}")

    def posterior(self, alpha: float, beta: float, successes: int, attempts: int) -> tuple[float, float]:
        """One visit: what is above the Beta(1, 1) prior decays, the new counts are added whole."""
        return (
            1.0 + self.decay * (alpha - 1.0) + successes,
            1.0 + self.decay * (beta - 1.0) + (attempts - successes),
        )

    def log_weight(self, alpha: float, beta: float, visits: int, last_step: int) -> float:
        """Natural logarithm of the weight, less the term in the present step that all tasks share."""
        return (
            math.log(learnability(alpha, beta))
            - self.novelty * math.log1p(visits)
            + math.log(2.0) * last_step / self.freshness_steps
        )


def learnability(alpha: float, beta: float) -> float:
    """E[p(1-p)] under Beta(alpha, beta), in (0, 1/4)."""
    total = alpha + beta
    return alpha * beta / (total * (total + 1.0))
