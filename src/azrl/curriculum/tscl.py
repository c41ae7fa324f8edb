"""Practise what is changing: where scores rise, and where they fall because something is being forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum import signals, window
from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.rules import greedy, one_of, softmax, whole, within


class Tscl(Curriculum):
    """Teacher-student curriculum learning (arXiv 1707.00183): share by |slope| of the arm's learning curve.

    A point of the curve is the mean reward of one visit (all the arm's rollouts of a step). `estimate="window"`:
    least-squares slope over the last `window` visits, against the update's number; `"online"`: Q <- (1 - alpha) Q
    + alpha (score - last score). `rule`: `egreedy` with `epsilon`, or `boltzmann` with `temperature`. Slopes are
    small beside the noise of one visit, so it is slow to find them; an arm seen fewer than twice has slope 0.
    """

    name = "tscl"

    def __init__(
        self,
        arms: Sequence[str],
        *,
        estimate: str = "window",
        window: int = 10,
        alpha: float = 0.1,
        rule: str = "egreedy",
        epsilon: float = 0.1,
        temperature: float = 0.01,
    ) -> None:
        super().__init__(arms)
        self.estimate = one_of("estimate", estimate, ("window", "online"))
        self.alpha = within("alpha", alpha, 0.0, 1.0, above=True)
        self.rule = one_of("rule", rule, ("egreedy", "boltzmann"))
        self.epsilon = within("epsilon", epsilon, 0.0, 1.0)
        self.temperature = within("temperature", temperature, 0.0, above=True)
        width = whole("window", window, 2)
        self._remember("scores", np.zeros(width))
        self._remember("times", np.zeros(width))
        self._remember("visits")
        self._remember("slope")
        self.run["updates"] = 0.0

    def _update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        self.run["updates"] += 1
        scores, times, visits, slope = (self.memory[name] for name in ("scores", "times", "visits", "slope"))
        score, rollouts = signals.mean_by_arm(signals.mean_rewards(outcomes), outcomes, self.index)
        for k in np.flatnonzero(rollouts).tolist():
            before = window.in_order(scores, visits, k)[-1:].copy()
            window.push(times, visits.copy(), k, [self.run["updates"]])
            window.push(scores, visits, k, [score[k]])
            y, x = window.in_order(scores, visits, k), window.in_order(times, visits, k)
            if not len(before):
                continue
            if self.estimate == "online":
                slope[k] += self.alpha * (y[-1] - before[0] - slope[k])
            else:
                x = x - x.mean()
                slope[k] = (x @ y) / (x @ x)

    def _probabilities(self, step: int) -> NDArray[np.float64]:
        size = np.abs(self.memory["slope"])
        return greedy(size, self.epsilon) if self.rule == "egreedy" else softmax(size, self.temperature)

    def explain(self) -> dict[str, float]:
        return {f"{arm}/slope": float(self.memory["slope"][k]) for k, arm in enumerate(self.arms)}
