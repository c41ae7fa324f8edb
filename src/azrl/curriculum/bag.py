"""Every item of an arm once, in random order, before any comes again."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from azrl.curriculum.items import Items


class ShuffleBag(Items):
    """In round r the items of an arm come in the order of hash(seed, arm, r, item), so a bag is remembered as its
    round and the last hash drawn: nothing grows with the items, and an item that appears or vanishes moves no
    other. The chance of each item is 1 / their number, over rounds."""

    name = "bag"

    def __init__(self, items: Mapping[str, Sequence[str]], seed: int) -> None:
        self.seed = seed
        self._place: dict[str, tuple[int, str]] = {}
        self._order: dict[str, tuple[list[str], list[str]]] = {}
        super().__init__(items)

    def pick(self, arm: str, n: int, rng: np.random.Generator) -> list[tuple[str, float]]:
        turn, last = self._place.get(arm, (0, ""))
        chance = 1.0 / self.count(arm)
        picked: list[tuple[str, float]] = []
        while len(picked) < n:
            keys, names = self._round(arm, turn)
            first = bisect_right(keys, last)
            taken = names[first : first + n - len(picked)]
            picked += [(item, chance) for item in taken]
            if len(picked) < n:
                turn, last = turn + 1, ""
                self._order.pop(arm)
            elif taken:
                last = keys[first + len(taken) - 1]
        self._place[arm] = (turn, last)
        return picked

    def _round(self, arm: str, turn: int) -> tuple[list[str], list[str]]:
        """Hashes and items of this round, in the order of the hashes."""
        if arm not in self._order:
            head = f"{self.seed}\0{arm}\0{turn}\0".encode()
            pairs = sorted(
                (hashlib.blake2b(head + item.encode(), digest_size=16).hexdigest(), item)
                for item in self._of[arm]
            )
            self._order[arm] = ([key for key, _ in pairs], [item for _, item in pairs])
        return self._order[arm]

    def _changed(self, arm: str) -> None:
        self._order.pop(arm, None)

    def _state(self) -> dict[str, Any]:
        return {arm: list(place) for arm, place in self._place.items()}

    def _load(self, state: Mapping[str, Any]) -> None:
        unknown = sorted(state.keys() - self._of.keys())
        if unknown:
            raise ValueError(f"state has a bag of arms without items: {', '.join(unknown[:20])}")
        place = {arm: (int(turn), str(last)) for arm, (turn, last) in state.items()}
        self._place, self._order = place, {}
