"""Practise what can be learned, is being learned, and costs little."""

from __future__ import annotations

from collections.abc import Sequence
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum import signals
from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.rules import softmax, within

Array = NDArray[np.float64]

_PRIOR_GAIN, _PRIOR_GROUPS = 0.5, 2.0  # an arm not tried lately is taken to teach this much, as if seen twice
_FADED = 1.01  # what is left of that prior at full evidence is a hundredth: no arm's gain is ever 0
_PRIOR_VARIANCE, _PRIOR_POINTS = 0.0625, 4.0  # of a group's solve rate, before there are groups to tell it by
_TRUST_KEPT = 0.9  # of what trust rests on, a step
_TRUST_PRIOR = 0.01  # as if gains spread by 0.1 had come true
_MOMENTS = ("w", "x", "y", "xx", "xy", "yy")


class Frontier(Curriculum):
    """Learnability x evidence of progress / cost, with a floor against forgetting.

    *Learnable*: gain is the mean |A| over about `groups` groups, drawn towards 0.5 as its evidence halves every
    `half_life` steps, so an arm left alone is looked at again; fresh evidence leaves nothing of that prior, so an
    arm that never pays has no gain. Arms solved more than 1 - `headroom` have little left to give and count less,
    in proportion to what is left. At most `enough`.

    *Learning*: noise has large advantages too, and what tells them apart is that practice moves the solve rate. x
    is the teaching an arm has received (its sum of |A|) and y its groups' solve rates; a regression of y on x that
    forgets after about `trend` groups gives a slope and its standard error, and `live` is the probability that
    |slope| is above the larger of two marks: `pace` times the arms' root mean square slope (weighted by evidence),
    and `least` over `trend` units of teaching. An arm that received little teaching, new or too hard, is live:
    only one that took much and did not move is closed.

    *Cost*: score = gain * (closed + (1 - closed) * live) / tokens^cost, scaled so that the best is the largest
    gain, with the usual cost of the arms in favour as the unit. p = (1 - floor) softmax(trust * score /
    temperature) + floor / K.

    *Trust*: the slope, from 0 to 1, of what arms gave on the gain foreseen, over about the last ten steps. Where
    feedback does not come true, it is not acted on: told noise, this is `uniform`.

    A rollout counts as solved from reward `solved_at` on. Weak where all arms learn too slowly to tell from noise
    (then it is learnability alone), and with more arms than groups to look at them.
    """

    name = "frontier"
    version = 2

    def __init__(
        self,
        arms: Sequence[str],
        *,
        groups: float = 8.0,
        half_life: float = 5.0,
        headroom: float = 0.5,
        enough: float = 0.7,
        trend: float = 800.0,
        pace: float = 0.2,
        least: float = 0.1,
        closed: float = 0.05,
        cost: float = 1.0,
        temperature: float = 0.05,
        floor: float = 0.05,
        solved_at: float = 0.5,
    ) -> None:
        super().__init__(arms)
        self.groups = within("groups", groups, 1.0)
        self.half_life = within("half_life", half_life, 0.0, above=True)
        self.headroom = within("headroom", headroom, 0.0, 1.0, above=True)
        self.enough = within("enough", enough, 0.0, above=True)
        self.trend = within("trend", trend, 1.0, above=True)
        self.pace = within("pace", pace, 0.0)
        self.least = within("least", least, 0.0)
        self.closed = within("closed", closed, 0.0, 1.0, above=True)
        self.cost = within("cost", cost, 0.0)
        self.temperature = within("temperature", temperature, 0.0, above=True)
        self.floor = within("floor", floor, 0.0, 1.0)
        self.solved_at = within("solved_at", solved_at, -np.inf)
        for name in ("gain", "rate", "tokens", "evidence", *_MOMENTS):
            self._remember(name)
        self.run |= {"foreseen": 0.0, "came_true": 0.0}

    def _update(self, step: int, outcomes: Sequence[Outcome]) -> None:
        m, arm = self.memory, signals.arm_numbers(outcomes, self.index)

        def total(values: Array) -> Array:
            return np.bincount(arm, values, len(self.arms)).astype(np.float64)

        n = total(np.ones(len(arm)))
        taught = total(signals.magnitudes(outcomes))
        rates = signals.solve_rates(outcomes, self.solved_at)
        self._compare(n, taught)
        tokens = total(np.array([outcome.tokens for outcome in outcomes], dtype=np.float64))

        m["evidence"] = 0.5 ** (1.0 / self.half_life) * m["evidence"] + n
        weight = np.maximum(m["evidence"], 1e-9)
        m["gain"] += (taught - n * m["gain"]) / weight
        m["rate"] += (total(rates) - n * m["rate"]) / weight
        m["tokens"] += (tokens - n * m["tokens"]) / weight
        m["evidence"] = np.minimum(m["evidence"], self.groups)

        for name in _MOMENTS:
            m[name] *= (1.0 - 1.0 / self.trend) ** n
        m["w"] += n
        m["y"] += total(rates)
        m["yy"] += total(rates * rates)
        # x is measured back from now: this step's groups stand at 0, and then all points move away by `taught`.
        m["xx"] += taught * (taught * m["w"] - 2.0 * m["x"])
        m["xy"] -= taught * m["y"]
        m["x"] -= taught * m["w"]

    def _compare(self, n: Array, taught: Array) -> None:
        """Keep the moments of what this step's groups gave against what was foreseen."""
        weight = n / max(1.0, n.sum())
        foreseen = self._drawn("gain", _PRIOR_GAIN)
        foreseen = foreseen - weight @ foreseen
        for name, found in (("foreseen", foreseen), ("came_true", taught / np.maximum(n, 1.0))):
            self.run[name] = _TRUST_KEPT * self.run[name] + float(weight @ (foreseen * found))

    def _trust(self) -> float:
        """How far what is foreseen has come true."""
        slope = (self.run["came_true"] + _TRUST_PRIOR) / (self.run["foreseen"] + _TRUST_PRIOR)
        return min(1.0, max(0.0, slope))

    def _drawn(self, name: str, prior: float) -> Array:
        """A running mean, drawn towards `prior` the more the less evidence is fresh."""
        evidence = self.memory["evidence"]
        doubt = _PRIOR_GROUPS * (_FADED - evidence / self.groups)
        return (evidence * self.memory[name] + doubt * prior) / (evidence + doubt)

    def _live(self) -> Array:
        """Probability that practice moves each arm's solve rate fast enough."""
        w, x, y, xx, xy, yy = (self.memory[name] for name in _MOMENTS)
        w = np.maximum(w, 1e-9)
        spread = np.maximum(xx - x * x / w, 1e-6)
        slope = (xy - x * y / w) / spread
        rest = np.maximum(yy - y * y / w - slope * slope * spread, 0.0)
        variance = (rest + _PRIOR_POINTS * _PRIOR_VARIANCE) / (w + _PRIOR_POINTS)
        usual = sqrt(max(0.0, float((slope * slope * spread - variance).sum() / spread.sum())))
        mark = max(self.pace * usual, self.least / self.trend)
        error = np.sqrt(variance / spread)
        return _normal_cdf((slope - mark) / error) + _normal_cdf((-slope - mark) / error)

    def _terms(self) -> tuple[Array, Array, Array]:
        """Gain, live and score of each arm."""
        tokens = self.memory["tokens"]
        left = np.minimum(1.0, (1.0 - self._drawn("rate", 0.0)) / self.headroom)
        gain = np.minimum(left * self._drawn("gain", _PRIOR_GAIN), self.enough)
        live = self._live()
        score = gain * (self.closed + (1.0 - self.closed) * live)
        score *= gain.max() / score.max()
        known = tokens > 0
        if known.any():
            unit = score[known] @ tokens[known] / score[known].sum()
            score *= (unit / np.where(known, tokens, unit)) ** self.cost
        return gain, live, score

    def _probabilities(self, step: int) -> Array:
        _, _, score = self._terms()
        return (1.0 - self.floor) * softmax(self._trust() * score, self.temperature) + self.floor / len(score)

    def explain(self) -> dict[str, float]:
        terms = dict(zip(("gain", "live", "score"), self._terms(), strict=True))
        return {
            f"{arm}/{name}": float(term[k]) for k, arm in enumerate(self.arms) for name, term in terms.items()
        }


def _normal_cdf(z: Array) -> Array:
    return np.array([0.5 + 0.5 * erf(value / sqrt(2.0)) for value in z.tolist()])
