"""The items of an arm that are believed to be solved sometimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.base import Outcome
from azrl.curriculum.items import Items
from azrl.curriculum.rules import within
from azrl.curriculum.signals import solve_rates


class Belief(Items):
    """A Beta(1, 1) belief of each item's solve rate p, whose evidence is multiplied by `decay` at each visit (the
    policy moves on), in the manner of MoPPS (arXiv 2507.04632). An item is drawn with chance ~ E[p(1 - p)], none
    twice in one draw until all have come; the chance recorded is that of its turn, given the earlier ones. A
    rollout counts as solved from reward `solved_at` on."""

    name = "belief"

    def __init__(
        self, items: Mapping[str, Sequence[str]], *, decay: float = 0.5, solved_at: float = 0.5
    ) -> None:
        self.decay = within("decay", decay, 0.0, 1.0)
        self.solved_at = solved_at
        self._seen: dict[str, dict[str, tuple[float, float]]] = {}
        self._weights: dict[str, NDArray[np.float64]] = {}
        self._index: dict[str, dict[str, int]] = {}
        super().__init__(items)

    def pick(self, arm: str, n: int, rng: np.random.Generator) -> list[tuple[str, float]]:
        names, picked = self._of[arm], list[tuple[str, float]]()
        while len(picked) < n:
            left = self._weights[arm].copy()
            for _ in range(min(n - len(picked), len(names))):
                edges = left.cumsum()
                k = int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))
                k = min(k, int(left.nonzero()[0][-1]))
                picked.append((names[k], float(left[k] / edges[-1])))
                left[k] = 0.0
        return picked

    def check(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.item not in self._index.get(outcome.arm, ()):
                raise ValueError(f"outcome of item {outcome.item!r}, which arm {outcome.arm!r} does not have")

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        for outcome, share in zip(outcomes, solve_rates(outcomes, self.solved_at).tolist(), strict=True):
            seen = self._seen.setdefault(outcome.arm, {})
            solved, failed = seen.get(outcome.item, (0.0, 0.0))
            n = len(outcome.rewards)
            belief = (self.decay * solved + n * share, self.decay * failed + n * (1.0 - share))
            seen[outcome.item] = belief
            self._weights[outcome.arm][self._index[outcome.arm][outcome.item]] = _spread(*belief)

    def _changed(self, arm: str) -> None:
        names = self._of[arm]
        self._index[arm] = {item: k for k, item in enumerate(names)}
        seen = self._seen.get(arm, {})
        self._seen[arm] = {item: belief for item, belief in seen.items() if item in self._index[arm]}
        self._weights[arm] = np.array([_spread(*self._seen[arm].get(item, (0.0, 0.0))) for item in names])

    def _state(self) -> dict[str, Any]:
        return {arm: {item: list(b) for item, b in seen.items()} for arm, seen in self._seen.items() if seen}

    def _load(self, state: Mapping[str, Any]) -> None:
        unknown = [
            f"{item!r} of {arm!r}"
            for arm in state
            for item in state[arm]
            if item not in self._index.get(arm, ())
        ]
        if unknown:
            raise ValueError(f"state knows items that are not here: {', '.join(unknown[:20])}")
        seen = {
            arm: {
                item: (within("solved", a, 0.0), within("failed", b, 0.0)) for item, (a, b) in found.items()
            }
            for arm, found in state.items()
        }
        self._seen = seen
        for arm in self._of:
            self._changed(arm)


def _spread(solved: float, failed: float) -> float:
    """E[p(1 - p)] under Beta(1 + solved, 1 + failed)."""
    a, b = 1.0 + solved, 1.0 + failed
    return a * b / ((a + b) * (a + b + 1.0))
