"""Draws of arms and items: a curriculum's probabilities made into whole numbers, fairly and reproducibly."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.items import Items

_ROUNDING = 1e-9  # a share this close below a whole number is that number


@dataclass(frozen=True, slots=True)
class Ticket:
    """One thing to practise, and the probability it was drawn with: the arm's share times the item's chance
    within the arm, so that what is measured on a draw can be weighted back to any other distribution."""

    arm: str
    item: str
    propensity: float


class CurriculumSampler:
    """Draws from `curriculum`, and from `items` where a draw is of items too. What is drawn is a function of
    their state, the seed, the step and the purpose alone; which arms are drawn changes no state, so a run that
    draws arms alone resumes with the curriculum's state, and one that draws items with `state_dict`."""

    def __init__(self, curriculum: Curriculum, seed: int, items: Items | None = None) -> None:
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.curriculum = curriculum
        self.seed = seed
        self.items = items
        self._stock: tuple[tuple[tuple[str, ...], int], NDArray[np.bool_]] = (((), 0), np.empty(0, bool))

    def draw(self, step: int, n: int, *, purpose: str = "") -> list[str]:
        """n arms for this step, in random order. Arm k comes floor(n p_k) or ceil(n p_k) times, n p_k on
        average: with three equal arms and n divisible by three, exactly a third each. Draws of one step
        with different purposes are independent; n = 0 gives none."""
        rng = self._generator(step, n, purpose)
        return [self.curriculum.arms[k] for k in _numbers(self.curriculum.probabilities(step), n, rng)]

    def shares(self, step: int) -> dict[str, float]:
        """The propensity of each arm in the draws of this step: what `draw` gives a single place to it by."""
        return dict(zip(self.curriculum.arms, self.curriculum.probabilities(step).tolist(), strict=True))

    def tickets(self, step: int, n: int, *, purpose: str = "") -> list[Ticket]:
        """The same with an item for each arm drawn. Arms without items are left out, their share given to the
        others in proportion. ValueError where no arm that the curriculum would draw has items."""
        items = self._items()
        rng = self._generator(step, n, purpose)
        p = np.where(self._stocked(items), self.curriculum.probabilities(step), 0.0)
        if not p.sum() > 0:
            raise ValueError("no arm with a share above 0 has items: add some with set_items")
        p /= p.sum()
        numbers = _numbers(p, n, rng)
        arms = self.curriculum.arms
        drawn = {k: iter(items.pick(arms[k], count, rng)) for k, count in sorted(Counter(numbers).items())}
        tickets = []
        for k in numbers:
            item, chance = next(drawn[k])
            tickets.append(Ticket(arms[k], item, float(p[k]) * chance))
        return tickets

    def observe(self, step: int, outcomes: Sequence[Outcome]) -> None:
        """Feed outcomes back to curriculum and items; both learn from all of them or, when one is wrong, none."""
        if self.items is not None:
            self.items.check(outcomes)
        self.curriculum.update(step, outcomes)
        if self.items is not None:
            self.items.observe(outcomes)

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to draw on alike; holds only what JSON can."""
        items = None if self.items is None else self.items.state_dict()
        return {"curriculum": self.curriculum.state_dict(), "items": items}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, all or nothing; ValueError for anything else."""
        if set(state) != {"curriculum", "items"} or (state["items"] is None) != (self.items is None):
            raise ValueError(
                "not a state of this sampler: it needs 'curriculum' and 'items' as saved by one alike"
            )
        before = self.curriculum.state_dict()
        self.curriculum.load_state_dict(state["curriculum"])
        if self.items is None:
            return
        try:
            self.items.load_state_dict(state["items"])
        except ValueError:
            self.curriculum.load_state_dict(before)
            raise

    def _items(self) -> Items:
        if self.items is None:
            raise ValueError("this sampler has no items to draw: give it a ShuffleBag or a Belief")
        return self.items

    def _generator(self, step: int, n: int, purpose: str) -> np.random.Generator:
        if n < 0:
            raise ValueError(f"cannot draw {n} arms")
        entropy = hashlib.sha256(f"{self.seed}\0{step}\0{purpose}".encode()).digest()
        return np.random.Generator(np.random.Philox(int.from_bytes(entropy[:16], "little")))

    def _stocked(self, items: Items) -> NDArray[np.bool_]:
        """Which arms have items; looked up again only when arms or items have changed."""
        key = (self.curriculum.arms, items.changes)
        if self._stock[0] != key:
            self._stock = (key, np.array([items.count(arm) > 0 for arm in self.curriculum.arms]))
        return self._stock[1]


def _numbers(p: NDArray[np.float64], n: int, rng: np.random.Generator) -> list[int]:
    """Arms by their place, in random order."""
    numbers: list[int] = rng.permutation(np.repeat(np.arange(len(p)), _quota(n * p, n, rng))).tolist()
    return numbers


def _quota(shares: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each arm comes: the whole parts of n p, and one more for as many arms as are missing, chosen by
    systematic sampling of the fractions (Madow 1949) in random order."""
    quota = np.floor(shares + _ROUNDING).astype(np.int64)
    missing = n - int(quota.sum())
    if missing:
        order = rng.permutation(len(shares))
        edges = np.cumsum(np.maximum(shares - quota, 0.0)[order])
        edges *= missing / edges[-1]
        extra = np.searchsorted(edges, rng.random() + np.arange(missing), side="right")
        np.add.at(quota, order[np.minimum(extra, len(order) - 1)], 1)
    return quota
