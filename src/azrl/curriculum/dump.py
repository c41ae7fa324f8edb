"""Practise what moves the model most, and what was practised least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum import signals, window
from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.rules import exploration_bonus, one_of, softmax, whole, within


class Dump(Curriculum):
    """DUMP (arXiv 2504.09710): softmax over an upper confidence bound of each arm's mean |advantage|.

    score = mean |A| over the arm's last `window` rollouts + exploration * sqrt(2 ln(N + 1) / (n + 1)), and
    p = softmax(score / temperature). n is how much was ever practised, N its sum: rollouts in the released code
    (`variant="code"`), prompts in the paper's Algorithm 1 (`variant="paper"`). Neither forgets, so exploration
    dies out. Arms that pay by chance have large advantages for ever: DUMP does not leave them.
    """

    name = "dump"

    def __init__(
        self,
        arms: Sequence[str],
        *,
        variant: str = "code",
        window: int = 300,
        exploration: float = 1.0,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(arms)
        self.variant = one_of("variant", variant, ("code", "paper"))
        self.exploration = within("exploration", exploration, 0.0)
        self.temperature = within("temperature", temperature, 0.0, above=True)
        self._remember("advantages", np.zeros(whole("window", window, 1)))
        self._remember("rollouts")
        self._remember("prompts")

    def _update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        rows = [np.abs(row) for row in signals.advantages(outcomes)]
        arm = signals.arm_numbers(outcomes, self.index)
        for k in np.unique(arm):
            values = np.concatenate([rows[i] for i in np.flatnonzero(arm == k)])
            window.push(self.memory["advantages"], self.memory["rollouts"], k, values)
        self.memory["prompts"] += np.bincount(arm, minlength=len(self.arms))

    def _terms(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean |A| and bonus of each arm."""
        n = self.memory["rollouts" if self.variant == "code" else "prompts"]
        bonus = self.exploration * exploration_bonus(n)
        return window.means(self.memory["advantages"], self.memory["rollouts"]), bonus

    def _probabilities(self, step: int) -> NDArray[np.float64]:
        gain, bonus = self._terms()
        return softmax(gain + bonus, self.temperature)

    def explain(self) -> dict[str, float]:
        gain, bonus = self._terms()
        return {f"{arm}/advantage": float(gain[k]) for k, arm in enumerate(self.arms)} | {
            f"{arm}/bonus": float(bonus[k]) for k, arm in enumerate(self.arms)
        }
