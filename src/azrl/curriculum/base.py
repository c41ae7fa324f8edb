"""What a curriculum is: a distribution over arms, moved by what practising them gave.

An arm is a source of tasks: a task kind at a difficulty, a dataset, a bucket. Curricula are pure: no
randomness, no clock, no files; the sampler draws from them. Every algorithm is one small file with a subclass
of `Curriculum` that fills in the hooks below. What comes in and goes out is checked here, once, so that bad
feedback is refused before it has moved anything; and what an algorithm remembers of each arm is kept here, once,
so that saving, resuming and arms that come and go are the same for all.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one group of rollouts gave: the arm and item practised, a reward a rollout, tokens generated, and
    the trainer's advantage of each rollout where it is known (else algorithms compute one from the rewards)."""

    arm: str
    item: str
    rewards: tuple[float, ...]
    tokens: int = 0
    advantages: tuple[float, ...] | None = None


class Curriculum(ABC):
    """Base of all algorithms. `arms` keep the order given, which is the order of the probabilities.

    Subclasses set `name` and define `_probabilities`. Those that learn declare what they keep with `_remember`
    (float64 arrays in `memory`, a row an arm) or in `run` (a number for all), define `_update`, and raise
    `version` when the meaning of that memory changes. Wrong arguments, feedback and states are ValueErrors, and
    leave the curriculum as it was.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    def __init__(self, arms: Sequence[str]) -> None:
        self.arms = _checked(arms)
        self.index = {arm: k for k, arm in enumerate(self.arms)}
        self.memory: dict[str, NDArray[np.float64]] = {}
        self.run: dict[str, float] = {}
        self._blank: dict[str, NDArray[np.float64]] = {}

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
            self._check(outcome)
        self._update(step, outcomes)

    def set_arms(self, arms: Sequence[str]) -> None:
        """Make the arms exactly these, in this order. Those that stay keep what is remembered of them, new ones
        start afresh, the others are forgotten."""
        names = _checked(arms)
        self._check_arms(names)
        old = [(k, self.index[arm]) for k, arm in enumerate(names) if arm in self.index]
        kept, rows = [k for k, _ in old], [row for _, row in old]
        for name, blank in self._blank.items():
            fresh = np.broadcast_to(blank, (len(names), *blank.shape)).copy()
            fresh[kept] = self.memory[name][rows]
            self.memory[name] = fresh
        self.arms = names
        self.index = {arm: k for k, arm in enumerate(names)}

    def add_arm(self, arm: str) -> None:
        """One more arm, at the end."""
        self.set_arms((*self.arms, arm))

    def remove_arm(self, arm: str) -> None:
        """Forget an arm. ValueError for one that is not there, and for the last."""
        if arm not in self.index:
            raise ValueError(f"there is no arm {arm!r} to remove; the arms are {self._names()}")
        self.set_arms([other for other in self.arms if other != arm])

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on alike; holds only what JSON can."""
        return {"name": self.name, "version": self.version, "arms": list(self.arms), "state": self._state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave. ValueError when it is of another algorithm, version or arms; where
        arms come and go, `set_arms(state["arms"])` goes first."""
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

    def _check_arms(self, arms: Sequence[str]) -> None:
        """ValueError when the options do not fit these arms. Here none name arms, so all fit."""
        del arms

    def _remember(self, name: str, blank: float | NDArray[np.float64] = 0.0) -> None:
        """Keep `memory[name]`, for each arm a number or an array that starts as `blank`."""
        self._blank[name] = np.asarray(blank, dtype=np.float64)
        self.memory[name] = np.broadcast_to(
            self._blank[name], (len(self.arms), *self._blank[name].shape)
        ).copy()

    def _state(self) -> dict[str, Any]:
        """A fresh JSON-able copy of the memory."""
        return {name: rows.tolist() for name, rows in self.memory.items()} | self.run

    def _load(self, state: Mapping[str, Any]) -> None:
        """Replace the memory by what `_state` gave; may raise KeyError, TypeError or ValueError on anything
        else."""
        odd = sorted(state.keys() ^ (self.memory.keys() | self.run.keys()))
        if odd:
            raise ValueError(f"fields missing or unexpected: {', '.join(odd)}")
        memory = {name: np.array(state[name], dtype=np.float64) for name in self.memory}
        run = {name: float(state[name]) for name in self.run}
        for name, rows in memory.items():
            if rows.shape != self.memory[name].shape or not np.isfinite(rows).all():
                raise ValueError(f"{name} is not {self.memory[name].shape} finite numbers")
        if not all(map(math.isfinite, run.values())):
            raise ValueError(f"numbers that are not finite among {run}")
        self.memory, self.run = memory, run

    def _check(self, outcome: Outcome) -> None:
        if outcome.arm not in self.index:
            raise ValueError(
                f"outcome of item {outcome.item!r} is for the unknown arm {outcome.arm!r};"
                f" the arms are {self._names()}"
            )
        where = f"outcome of item {outcome.item!r} in arm {outcome.arm!r}"
        if not len(outcome.rewards):
            raise ValueError(f"{where} has no rewards")
        # The sum of finite rewards is finite, short of overflow; it spares a look at each.
        if not math.isfinite(sum(outcome.rewards)) and not all(map(math.isfinite, outcome.rewards)):
            raise ValueError(f"{where} has rewards that are not finite: {outcome.rewards}")
        if outcome.advantages is not None and (
            len(outcome.advantages) != len(outcome.rewards) or not all(map(math.isfinite, outcome.advantages))
        ):
            raise ValueError(f"{where} needs one finite advantage a reward, got {outcome.advantages}")
        if outcome.tokens < 0:
            raise ValueError(f"{where} has {outcome.tokens} tokens")

    def _names(self) -> str:
        more = f" and {len(self.arms) - 20} more" if len(self.arms) > 20 else ""
        return ", ".join(self.arms[:20]) + more


def _checked(arms: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(arms, Sequence) or isinstance(arms, str):
        raise ValueError(f"arms must be a list or tuple of names, got {type(arms).__name__}")
    if not arms:
        raise ValueError("a curriculum needs at least one arm")
    if not all(isinstance(arm, str) for arm in arms):
        raise ValueError(f"arms must be names, got {[arm for arm in arms if not isinstance(arm, str)]}")
    repeated = sorted(arm for arm, count in Counter(arms).items() if count > 1)
    if repeated:
        raise ValueError(f"arms given more than once: {', '.join(repeated)}")
    return tuple(arms)
