"""One difficulty after the other, by a plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum import signals
from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.rules import one_of, whole, within


class Staged(Curriculum):
    """Stages in a fixed order, alike for all arms of the stages that are open.

    `order`: `easy_to_hard` (the order of the arms), `hard_to_easy`, or a list whose entries are an arm or a list
    of arms that open together. `mode`: `expand` keeps the earlier stages open, `replace` closes them, which
    forgets them. `advance`: `steps` opens a stage every `steps_per_stage` steps; `mastery` when a running mean
    (weight 1/16 a group) of the newest stage's solve rate reaches `mastery`, after at least 16 groups. The last
    stage stays. A plan knows nothing of the model: too fast and the hard part is never learned, too slow and
    time is lost; by mastery it stalls for ever at a stage that cannot be mastered.
    """

    name = "staged"

    def __init__(
        self,
        arms: Sequence[str],
        *,
        order: str | Sequence[str | Sequence[str]] = "easy_to_hard",
        mode: str = "expand",
        advance: str = "steps",
        steps_per_stage: int = 50,
        mastery: float = 0.8,
        solved_at: float = 0.5,
    ) -> None:
        super().__init__(arms)
        if not isinstance(order, Sequence):
            raise ValueError(f"order should be a word or a list of arms, got {order!r}")
        if isinstance(order, str):
            one_of("order", order, ("easy_to_hard", "hard_to_easy"))
        self.order = order
        self.mode = one_of("mode", mode, ("expand", "replace"))
        self.advance = one_of("advance", advance, ("steps", "mastery"))
        self.steps_per_stage = whole("steps_per_stage", steps_per_stage, 1)
        self.mastery = within("mastery", mastery, 0.0, 1.0)
        self.solved_at = within("solved_at", solved_at, -np.inf)
        self._check_arms(self.arms)
        self.run |= {"stage": 0.0, "rate": 0.0, "groups": 0.0}

    def _check_arms(self, arms: Sequence[str]) -> None:
        named = [arm for stage in self._stages(arms) for arm in stage]
        odd = sorted(set(named) ^ set(arms)) or sorted({arm for arm in named if named.count(arm) > 1})
        if odd:
            raise ValueError(f"order should name each arm once; not so for {', '.join(odd)}")

    def _stages(self, arms: Sequence[str]) -> list[tuple[str, ...]]:
        if isinstance(self.order, str):
            return [(arm,) for arm in (arms if self.order == "easy_to_hard" else arms[::-1])]
        return [(stage,) if isinstance(stage, str) else tuple(stage) for stage in self.order]

    def _stage(self, step: int) -> int:
        stage = step // self.steps_per_stage if self.advance == "steps" else int(self.run["stage"])
        return min(max(stage, 0), len(self._stages(self.arms)) - 1)

    def _update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        if self.advance == "steps":
            return
        newest = self._stages(self.arms)[self._stage(step)]
        rates = signals.solve_rates(outcomes, self.solved_at)
        for outcome, rate in zip(outcomes, rates.tolist(), strict=True):
            if outcome.arm in newest:
                self.run["groups"] += 1
                weight = 1.0 / min(16.0, self.run["groups"])
                self.run["rate"] += weight * (rate - self.run["rate"])
        if self.run["groups"] >= 16 and self.run["rate"] >= self.mastery:
            self.run = {"stage": self._stage(step) + 1.0, "rate": 0.0, "groups": 0.0}

    def _probabilities(self, step: int) -> NDArray[np.float64]:
        stage = self._stage(step)
        first = stage if self.mode == "replace" else 0
        open_arms = {arm for names in self._stages(self.arms)[first : stage + 1] for arm in names}
        return np.array([float(arm in open_arms) for arm in self.arms])

    def explain(self) -> dict[str, float]:
        return {"stage": self.run["stage"], "rate": self.run["rate"]} if self.advance == "mastery" else {}
