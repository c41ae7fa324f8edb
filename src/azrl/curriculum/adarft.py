"""A thermostat on difficulty: harder when it goes well, easier when it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum import signals
from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.rules import within


class AdaRft(Curriculum):
    """AdaRFT (arXiv 2504.05520): a target difficulty T in 0..100 follows the mean reward R of each step,
    T <- clip(T + step_size * tanh(sensitivity * (R - target_reward)), 0, 100).

    The paper takes the items nearest to T; arms are coarser, so theirs is a Gaussian share around T with standard
    deviation `width`. `difficulties` names each arm's, in 0..100; without it arms are taken to be given from easy
    to hard, evenly spaced. It trusts these numbers, and stalls before a level that cannot be solved.
    """

    name = "adarft"

    def __init__(
        self,
        arms: Sequence[str],
        *,
        difficulties: Mapping[str, float] | None = None,
        target_reward: float = 0.5,
        sensitivity: float = 2.0,
        step_size: float = 50.0,
        start: float = 0.0,
        width: float = 10.0,
    ) -> None:
        super().__init__(arms)
        if difficulties is not None and not isinstance(difficulties, Mapping):
            raise ValueError(f"difficulties should map each arm to a number, got {difficulties!r}")
        self.difficulties = difficulties
        self.target_reward = within("target_reward", target_reward, -np.inf)
        self.sensitivity = within("sensitivity", sensitivity, 0.0, above=True)
        self.step_size = within("step_size", step_size, 0.0, above=True)
        self.width = within("width", width, 0.0, above=True)
        self._check_arms(self.arms)
        self.run["target"] = within("start", start, 0.0, 100.0)

    def _check_arms(self, arms: Sequence[str]) -> None:
        if self.difficulties is None:
            return
        missing = [arm for arm in arms if arm not in self.difficulties]
        if missing:
            raise ValueError(f"difficulties names no difficulty for {', '.join(missing)}")
        for arm in arms:
            within(f"difficulties[{arm!r}]", self.difficulties[arm], 0.0, 100.0)

    def _update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        if outcomes:
            surplus = float(signals.mean_rewards(outcomes).mean()) - self.target_reward
            target = self.run["target"] + self.step_size * np.tanh(self.sensitivity * surplus)
            self.run["target"] = float(np.clip(target, 0.0, 100.0))

    def _probabilities(self, step: int) -> NDArray[np.float64]:
        if self.difficulties is None:
            levels = np.linspace(0.0, 100.0, len(self.arms))
        else:
            levels = np.array([self.difficulties[arm] for arm in self.arms], dtype=np.float64)
        distance = ((levels - self.run["target"]) / self.width) ** 2 / 2.0
        return np.exp(distance.min() - distance)

    def explain(self) -> dict[str, float]:
        return {"target": self.run["target"]}
