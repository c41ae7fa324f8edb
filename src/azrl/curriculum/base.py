"""What a curriculum is: a distribution over arms, moved by what practising them gave.

An arm is a source of tasks: a task kind at a difficulty, a dataset, a bucket. Curricula are pure: no
randomness, no clock, no files; the sampler draws from them. Every algorithm is one small file with a subclass
of `Curriculum` that fills in the hooks below. What comes in and goes out is checked here, once, so that bad
feedback is refused before it has moved anything.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one group of rollouts gave: the arm and item practised, a reward a rollout, tokens generated."""

    arm: str
    item: str
    rewards: tuple[float, ...]
    tokens: int = 0


class Curriculum(ABC):
    """Base of all algorithms. `arms` keep the order given, which is the order of the probabilities.

    Subclasses set `name` and define `_probabilities`; those with memory also define `_update`, `_state` and
    `_load`, and raise `version` when the meaning of their state changes. Wrong arguments, feedback and states
    are ValueErrors, and leave the curriculum as it was.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    def __init__(self, arms: Sequence[str]) -> None:
        if not isinstance(arms, Sequence) or isinstance(arms, str):
            raise ValueError(f"arms must be a list or tuple of names, got {type(arms).__name__}")
        if not arms:
            raise ValueError("a curriculum needs at least one arm")
        repeated = sorted({arm for arm in arms if arms.count(arm) > 1})
        if repeated:
            raise ValueError(f"arms given more than once: {', '.join(repeated)}")
        self.arms = tuple(arms)

    def probabilities(self, step: int) -> NDArray[np.float64]:
        """Each arm's share of the draws of this step, float64[K], at least 0, sum 1. Changes nothing."""
        weights = np.array(self._probabilities(step), dtype=np.float64)
        if weights.shape != (len(self.arms),) or not np.isfinite(weights).all() or (weights < 0).any():
            raise FloatingPointError(f"{self.name}: probabilities at step {step} are {weights.tolist()}")
        total = weights.sum()
        if not total > 0:
            raise FloatingPointError(f"{self.name}: all probabilities at step {step} are 0")
        return weights / total

    def update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        """Learn from the groups practised in this step, all of them or, when one is wrong, none."""
        for outcome in outcomes:
            if outcome.arm not in self.arms:
                raise ValueError(
                    f"outcome of item {outcome.item!r} is for the unknown arm {outcome.arm!r};"
                    f" the arms are {', '.join(self.arms)}"
                )
            where = f"outcome of item {outcome.item!r} in arm {outcome.arm!r}"
            if not len(outcome.rewards):
                raise ValueError(f"{where} has no rewards")
            if not all(math.isfinite(reward) for reward in outcome.rewards):
                raise ValueError(f"{where} has rewards that are not finite: {outcome.rewards}")
        self._update(step, outcomes)

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on alike; holds only what JSON can."""
        return {"name": self.name, "version": self.version, "arms": list(self.arms), "state": self._state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave. ValueError when it is of another algorithm, version or arms."""
        expected = {"name": self.name, "version": self.version, "arms": list(self.arms)}
        for field, value in expected.items():
            if field not in state:
                raise ValueError(f"not a state of the curriculum {self.name}: it has no {field!r}")
            if state[field] != value:
                raise ValueError(f"state has {field} {state[field]!r}, but this curriculum has {value!r}")
        if not isinstance(state.get("state"), Mapping):
            raise ValueError(f"not a state of the curriculum {self.name}: it has no 'state'")
        before = self._state()
        try:
            self._load(state["state"])
        except (KeyError, TypeError, ValueError) as error:
            self._load(before)
            raise ValueError(f"damaged state of the curriculum {self.name}: {error!r}") from error

    def explain(self) -> dict[str, float]:
        """Named terms behind the next probabilities, for logs: `<arm>` or `<arm>/<term>` to value."""
        return {}

    @abstractmethod
    def _probabilities(self, step: int) -> Sequence[float] | NDArray[np.float64]:
        """Weights of the arms in their order, to be scaled to sum 1."""

    def _update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        """Learn from outcomes that were checked. Does nothing here: a fixed schedule has no memory."""
        del step, outcomes

    def _state(self) -> dict[str, Any]:
        """A fresh JSON-able copy of the memory."""
        return {}

    def _load(self, state: Mapping[str, Any]) -> None:
        """Replace the memory by what `_state` gave; may raise KeyError, TypeError or ValueError on anything
        else."""
        if state:
            raise ValueError(f"unexpected fields {', '.join(sorted(state))}")
