"""The zero-resource curriculum behind the common contract: each arm is a task of many items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.zrc.settings import PRESETS, Settings
from azrl.curriculum.zrc.zero_resource import ZeroResourceCurriculum

_PENALTY = 0.03  # arms whose difficulties differ by more than a sixth of their spread stay apart


class ZRC(Curriculum):
    """Arms are clustered by their difficulty and, where given, their `embeddings` (arm to vector); the bandit
    chooses among the clusters, and inside one by the worth of each arm (docs/zrc.md). A reward of at least
    `success_at` counts as solved. Steps are updates: evidence fades with every update, whatever the step's
    number. Options are those of a preset (`default` or `paper`) and `settings` that differ from it, by name.
    Arms may be clusters of their own, and without embeddings clusters are fine: an arm stands for many items, so
    there is less to gain from lumping arms together."""

    name = "zrc"

    def __init__(
        self,
        arms: Sequence[str],
        *,
        preset: str = "default",
        settings: Mapping[str, Any] | None = None,
        embeddings: Mapping[str, Sequence[float]] | None = None,
        success_at: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__(arms)
        if preset not in PRESETS:
            raise ValueError(f"unknown preset {preset!r}; there is {', '.join(sorted(PRESETS))}")
        defaults = PRESETS[preset].to_dict() | {"min_size": 1}
        if embeddings is None and defaults["penalty"] is None:
            defaults["penalty"] = _PENALTY
        chosen = Settings.from_dict(defaults | dict(settings or {}))
        self.success_at = success_at
        self._embeddings = embeddings
        self._check_arms(self.arms)
        self._core = ZeroResourceCurriculum(chosen, seed=seed)
        self._current()

    def explain(self) -> dict[str, float]:
        """Per arm: its cluster, difficulty, rate, learnability, progress and share of the draws."""
        return {
            f"{arm}/{term}": value
            for arm, terms in self._current().task_terms().items()
            for term, value in terms.items()
        }

    def _probabilities(self, step: int) -> NDArray[np.float64]:
        core = self._current()
        shares = dict(zip(core.tasks, core.task_probabilities(step).tolist(), strict=True))
        return np.array([shares[arm] for arm in self.arms])

    def _update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        del step
        self._current().record_outcomes(
            [outcome.arm for outcome in outcomes],
            [[float(reward >= self.success_at) for reward in outcome.rewards] for outcome in outcomes],
            separate=True,
        )

    def _check_arms(self, arms: Sequence[str]) -> None:
        """Every arm has an embedding, where there are embeddings."""
        if self._embeddings is not None:
            missing = [arm for arm in arms if arm not in self._embeddings]
            if missing:
                raise ValueError(f"no embedding for the arms {', '.join(missing)}")

    def _current(self) -> ZeroResourceCurriculum:
        """The curriculum over exactly the arms there are now."""
        arms, known = set(self.arms), set(self._core.tasks)
        self._core.remove_tasks([task for task in self._core.tasks if task not in arms])
        fresh = [arm for arm in self.arms if arm not in known]
        if fresh:
            vectors = None if self._embeddings is None else [self._embeddings[arm] for arm in fresh]
            self._core.register_tasks(fresh, vectors)
        return self._core

    def _state(self) -> dict[str, Any]:
        return self._current().state_dict()

    def _load(self, state: Mapping[str, Any]) -> None:
        if sorted(state["table"]["ids"]) != sorted(self.arms):
            raise ValueError("its tasks are not these arms")
        self._core.load_state_dict(state)
