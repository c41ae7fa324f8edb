"""Practise what is solved sometimes: neither always nor never."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum import signals
from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.rules import one_of, within

_DRAWS = 128


class Learnability(Curriculum):
    """The variance p(1 - p) of success, by a Beta belief of each arm's solve rate p whose evidence halves every
    `half_life` groups of that arm. LILO (arXiv 2502.12272) trains on high p(1 - p); the belief with Thompson
    sampling is that of MoPPS (arXiv 2507.04632).

    `rule="proportional"`: share ~ E[p(1-p)]^power = (ab / ((a+b)(a+b+1)))^power, prior a = b = 1.
    `rule="thompson"`: the chance that the arm has the largest sampled p(1 - p), from 128 draws that are a
    function of how many updates there were; an arm that won none of them has share 0 until the next update.
    A rollout counts as solved from reward `solved_at` on. Coin flips look perfectly learnable; so does an arm half
    of whose items are solved and half impossible.
    """

    name = "learnability"

    def __init__(
        self,
        arms: Sequence[str],
        *,
        rule: str = "proportional",
        power: float = 1.0,
        half_life: float = 64.0,
        solved_at: float = 0.5,
    ) -> None:
        super().__init__(arms)
        self.rule = one_of("rule", rule, ("proportional", "thompson"))
        self.power = within("power", power, 0.0)
        self.decay = 0.5 ** (1.0 / within("half_life", half_life, 0.0, above=True))
        self.solved_at = within("solved_at", solved_at, -np.inf)
        self._remember("solved")
        self._remember("failed")
        self.run["updates"] = 0.0
        self._drawn: tuple[bytes, NDArray[np.float64]] = (b"", np.empty(0))

    def _update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        rates = signals.solve_rates(outcomes, self.solved_at)
        for k, rate in zip(signals.arm_numbers(outcomes, self.index), rates, strict=True):
            self.memory["solved"][k] = self.decay * self.memory["solved"][k] + rate
            self.memory["failed"][k] = self.decay * self.memory["failed"][k] + 1.0 - rate
        self.run["updates"] += 1

    def _belief(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return 1.0 + self.memory["solved"], 1.0 + self.memory["failed"]

    def _probabilities(self, step: int) -> NDArray[np.float64]:
        a, b = self._belief()
        if self.rule == "proportional":
            return (a * b / ((a + b) * (a + b + 1.0))) ** self.power
        belief = b"".join((a.tobytes(), b.tobytes(), np.float64(self.run["updates"]).tobytes()))
        if self._drawn[0] != belief:
            rng = np.random.Generator(np.random.Philox(key=int(self.run["updates"])))
            p = rng.beta(a, b, size=(_DRAWS, len(a)))
            won = np.bincount((p * (1.0 - p)).argmax(axis=1), minlength=len(a))
            self._drawn = (belief, won / _DRAWS)
        return self._drawn[1]

    def explain(self) -> dict[str, float]:
        a, b = self._belief()
        return {f"{arm}/solve_rate": float(a[k] / (a[k] + b[k])) for k, arm in enumerate(self.arms)}
