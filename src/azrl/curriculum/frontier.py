"""Practise what can be learned, is being learned, and costs little."""

from __future__ import annotations

from collections.abc import Sequence
from math import erf

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum import signals
from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.rules import softmax, within

Array = NDArray[np.float64]

_PRIOR_GAIN, _PRIOR_GROUPS = 0.5, 2.0  # an arm not tried lately is taken to teach this much, as if seen twice
_PRIOR_VARIANCE, _PRIOR_POINTS = 0.0625, 4.0  # of a group's solve rate, before there are groups to tell it by
_MOMENTS = ("w", "x", "y", "xx", "xy", "yy")


def _normal_cdf(z: Array) -> Array:
    return np.array([0.5 + 0.5 * erf(value) for value in (z / 2.0**0.5).tolist()])



class Frontier(Curriculum):
    """Learnability x evidence of progress / cost, with a floor against forgetting.

    *Learnable*: mean |A| over about `groups` groups, an old mean drawn towards 0.5 as its evidence halves every
    `half_life` steps, so arms left alone are looked at again. *Learning*: large advantages come from noise too,
    and what tells them apart is that practice moves the solve rate. x is the teaching an arm has received (its
    sum of |A|) and y the groups' solve rates; a regression of y on x, forgetting after about `trend` groups,
    gives a slope with a standard error, and `live` is the probability that |slope| exceeds `pace` times that of
    the arms on the whole (root mean square, weighted by evidence). Without evidence live is 1, and unteachable arms
    get no teaching and stay so: only arms that took much teaching for nothing are closed. *Cost*: divided by tokens
    a group, to the power `cost`.

    score = gain * (closed + (1 - closed) * live) / tokens^cost, p = (1 - floor) softmax(score / temperature) +
    floor / K. The scale of tokens is the score-weighted mean, so it does not change the temperature. A rollout
    counts as solved from reward `solved_at` on. Fails where all arms learn too slowly to tell from noise (then it
    is learnability alone), and where an arm worth keeping up neither rises nor falls while it is practised.
    """

    name = "frontier"

    def __init__(
        self,
        arms: Sequence[str],
        *,
        groups: float = 32.0,
        half_life: float = 20.0,
        trend: float = 400.0,
        pace: float = 0.2,
        closed: float = 0.1,
        cost: float = 1.0,
        temperature: float = 0.05,
        floor: float = 0.05,
        solved_at: float = 0.5,
        agg: str = "rms",
    ) -> None:
        super().__init__(arms)
        self.groups = within("groups", groups, 1.0)
        self.keep_gain = 0.5 ** (1.0 / within("half_life", half_life, 0.0, above=True))
        self.keep_trend = 1.0 - 1.0 / within("trend", trend, 1.0, above=True)
        self.pace = within("pace", pace, 0.0)
        self.closed = within("closed", closed, 0.0, 1.0)
        self.cost = within("cost", cost, 0.0)
        self.temperature = within("temperature", temperature, 0.0, above=True)
        self.floor = within("floor", floor, 0.0, 1.0)
        self.solved_at = within("solved_at", solved_at, -np.inf)
        self.agg = agg
        for name in ("gain", "tokens", "evidence", *_MOMENTS):
            self._remember(name)

    def _update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        m = self.memory
        arm = signals.arm_numbers(outcomes, self.index)
        n = self._sum(arm, np.ones(len(arm)))
        gain = self._sum(arm, signals.magnitudes(outcomes))
        tokens = self._sum(arm, [outcome.tokens for outcome in outcomes])
        rates = signals.solve_rates(outcomes, self.solved_at)
        m["evidence"] = self.keep_gain * m["evidence"] + n
        weight = np.maximum(m["evidence"], 1e-9)
        m["gain"] += (gain - n * m["gain"]) / weight
        m["tokens"] += (tokens - n * m["tokens"]) / weight
        m["evidence"] = np.minimum(m["evidence"], self.groups)
        for name in _MOMENTS:
            m[name] = m[name] * self.keep_trend**n
        m["w"] += n
        m["y"] += self._sum(arm, rates)
        m["yy"] += self._sum(arm, rates * rates)
        # x is measured back from now: the step's groups stood at 0, and then all points move away by `gain`.
        m["xx"] += gain * (gain * m["w"] - 2.0 * m["x"])
        m["xy"] -= gain * m["y"]
        m["x"] -= gain * m["w"]

    def _sum(self, arm: NDArray[np.int64], values: Sequence[float] | Array) -> Array:
        return np.bincount(arm, values, len(self.arms))

    def _live(self) -> Array:
        w, x, y, xx, xy, yy = (self.memory[name] for name in _MOMENTS)
        w = np.maximum(w, 1e-9)
        spread = np.maximum(xx - x * x / w, 1e-6)
        slope = (xy - x * y / w) / spread
        rest = np.maximum(yy - y * y / w - slope * slope * spread, 0.0)
        variance = (rest + _PRIOR_POINTS * _PRIOR_VARIANCE) / (w + _PRIOR_POINTS)
        error = np.sqrt(variance / spread)
        if self.agg == "max":
            least = self.pace * np.max(np.maximum(abs(slope)-error, 0))
        else:
            least = self.pace * np.sqrt(max(0.0, (slope**2 * spread - variance).sum() / spread.sum()))
        return _normal_cdf((slope - least) / error) + _normal_cdf((-slope - least) / error)

    def _terms(self) -> tuple[Array, Array, Array]:
        """Gain, live and score of each arm."""
        evidence = self.memory["evidence"]
        gain = (evidence * self.memory["gain"] + _PRIOR_GROUPS * _PRIOR_GAIN) / (evidence + _PRIOR_GROUPS)
        live = self._live()
        score = gain * (self.closed + (1.0 - self.closed) * live)
        tokens = self.memory["tokens"]
        known = tokens > 0
        if known.any():
            usual = score[known] @ tokens[known] / score[known].sum()
            score = score * np.where(known, usual / np.where(known, tokens, 1.0), 1.0) ** self.cost
        return gain, live, score

    def _probabilities(self, step: int) -> Array:
        _, _, score = self._terms()
        return (1.0 - self.floor) * softmax(score, self.temperature) + self.floor / len(score)

    def explain(self) -> dict[str, float]:
        terms = dict(zip(("gain", "live", "score"), self._terms(), strict=True))
        return {f"{arm}/{name}": float(term[k]) for k, arm in enumerate(self.arms) for name, term in terms.items()}
