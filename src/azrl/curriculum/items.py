"""Which item of an arm to practise: what every way of choosing has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from azrl.curriculum.base import Outcome


class Items(ABC):
    """The items of each arm, by name. Items may appear and vanish with `set_items`; what is known of those that
    stay is kept. `changes` counts those calls."""

    name: ClassVar[str]
    version: ClassVar[int] = 1

    def __init__(self, items: Mapping[str, Sequence[str]]) -> None:
        self._of: dict[str, tuple[str, ...]] = {}
        self.changes = 0
        for arm, names in items.items():
            self.set_items(arm, names)

    def count(self, arm: str) -> int:
        """How many items the arm has; 0 for an arm never heard of."""
        return len(self._of.get(arm, ()))

    def set_items(self, arm: str, names: Sequence[str]) -> None:
        """Make the items of this arm exactly these; none is allowed. ValueError for one given twice."""
        if isinstance(names, str) or len(set(names)) < len(names):
            raise ValueError(f"items of arm {arm!r} should be a list of names without repeats")
        self._of[arm] = tuple(names)
        self.changes += 1
        self._changed(arm)

    @abstractmethod
    def pick(self, arm: str, n: int, rng: np.random.Generator) -> list[tuple[str, float]]:
        """n items of an arm that has some, each with the chance it had of being picked."""

    def check(self, outcomes: Sequence[Outcome]) -> None:
        """ValueError for an outcome that `observe` could not use. Here all are ignored, so all will do."""
        del outcomes

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        """Learn from outcomes that were checked. Does nothing here."""
        del outcomes

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs, for JSON. The items themselves are the caller's to keep."""
        return {"name": self.name, "version": self.version, "state": self._state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, all or nothing. ValueError when it is of another kind or version, or
        speaks of arms or items that are not here: `set_items` goes first."""
        for field, value in (("name", self.name), ("version", self.version)):
            if state.get(field) != value:
                raise ValueError(f"state has {field} {state.get(field)!r}, but these items have {value!r}")
        try:
            self._load(state["state"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"damaged state of the items: {error!r}") from error

    @abstractmethod
    def _changed(self, arm: str) -> None:
        """The items of this arm are others now."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """A fresh JSON-able copy of what is remembered."""

    @abstractmethod
    def _load(self, state: Mapping[str, Any]) -> None:
        """Replace what is remembered, at the very end: what raises before has changed nothing."""
