"""Practise what moves the model most, by a running average that forgets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum import signals
from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.rules import greedy, one_of, softmax, within


class Sec(Curriculum):
    """SEC, the self-evolving curriculum (arXiv 2505.14970): a non-stationary bandit with TD(0) values.

    Q <- (1 - alpha) Q + alpha r, where r is the mean over the step's rollouts of the arm of |A| (`objective`
    `advantage`; `raw_advantage` without dividing by the std; `progress`: the mean reward less that of the arm's
    last visit). `variant="paper"` moves the arms that were sampled; `"code"`, the public implementation, moves
    all of them, with r = 0 for the rest, so an arm not sampled fades. `rule`: `boltzmann` p = softmax(Q / tau),
    `normalised` p ~ max(Q, 0.01), or `egreedy` with `epsilon`. Like DUMP it does not tell noise from learning.
    """

    name = "sec"

    def __init__(
        self,
        arms: Sequence[str],
        *,
        variant: str = "paper",
        objective: str = "advantage",
        rule: str = "boltzmann",
        alpha: float = 0.5,
        tau: float = 0.4,
        epsilon: float = 0.1,
    ) -> None:
        super().__init__(arms)
        self.variant = one_of("variant", variant, ("paper", "code"))
        self.objective = one_of("objective", objective, ("advantage", "raw_advantage", "progress"))
        self.rule = one_of("rule", rule, ("boltzmann", "normalised", "egreedy"))
        self.alpha = within("alpha", alpha, 0.0, 1.0, above=True)
        self.tau = within("tau", tau, 0.0, above=True)
        self.epsilon = within("epsilon", epsilon, 0.0, 1.0)
        for name in ("q", "reward", "visits"):
            self._remember(name)

    def _update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        reward, rollouts = signals.mean_by_arm(signals.mean_rewards(outcomes), outcomes, self.index)
        sampled = rollouts > 0
        if self.objective == "progress":
            gain = np.where(sampled & (self.memory["visits"] > 0), reward - self.memory["reward"], 0.0)
        else:
            how: signals.Normalise = "std" if self.objective == "advantage" else "mean"
            gain, _ = signals.mean_by_arm(signals.magnitudes(outcomes, how), outcomes, self.index)
        self.memory["reward"][sampled] = reward[sampled]
        self.memory["visits"] += sampled
        moved = sampled if self.variant == "paper" else np.ones_like(sampled)
        q = self.memory["q"]
        q[moved] = (1.0 - self.alpha) * q[moved] + self.alpha * gain[moved]

    def _probabilities(self, step: int) -> NDArray[np.float64]:
        q = self.memory["q"]
        if self.rule == "boltzmann":
            return softmax(q, self.tau)
        return greedy(q, self.epsilon) if self.rule == "egreedy" else np.maximum(q, 0.01)

    def explain(self) -> dict[str, float]:
        return {f"{arm}/q": float(self.memory["q"][k]) for k, arm in enumerate(self.arms)}
