"""The worlds and the contenders. `TUNING` is where the defaults of `frontier` were chosen; `HELD_OUT` differs from
it in every number and was run afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from azrl.curriculum import Curriculum, build_curriculum
from worlds.learner import World


def _slope(first: float, last: float, arms: int) -> tuple[float, ...]:
    return tuple(np.linspace(first, last, arms).tolist())


def _costs(arms: int, dearest: float, seed: int | None) -> tuple[float, ...]:
    """From 1 to `dearest` in equal ratios, rising with the arms or shuffled."""
    costs = np.geomspace(1.0, dearest, arms)
    return tuple((costs if seed is None else np.random.default_rng(seed).permutation(costs)).tolist())


_EASY = _slope(0.0, -7.0, 12)
TUNING = (
    World("chain", _EASY, rate=0.75),
    World("flat", (-1.5,) * 12, rate=0.45),
    World("noisy", _EASY, rate=0.75, coins=(2, 5, 8, 10)),
    World("impossible", _EASY, rate=0.75, impossible=(3, 6, 9, 11)),
    World("forgetting", _EASY, rate=0.75, forgetting=0.015),
    World("drifting", _EASY, rate=0.75, drift=0.1),
    World("many arms", _slope(0.0, -7.0, 120), rate=0.15, reach=15.0),
    World("uneven costs", _EASY, rate=0.75, cost=_costs(12, 6.0, 5)),
)
HELD_OUT = (
    World("chain", _slope(0.5, -9.0, 16), rate=1.0, reach=1.2, spread=1.0),
    World("flat", (-2.0,) * 9, rate=0.5, reach=1.0),
    World("noisy", _slope(0.0, -6.0, 10), rate=0.7, coins=(0, 4, 7), coin=0.35),
    World("noisy, half", _slope(0.5, -6.0, 14), rate=1.0, coins=(1, 3, 6, 8, 9, 11, 13), coin=0.6, reach=2.0),
    World("impossible", _slope(0.5, -7.0, 15), rate=0.9, impossible=(5, 6, 10, 14)),
    World("forgetting", _slope(0.3, -6.0, 10), rate=1.0, forgetting=0.025),
    World(
        "drifting", tuple(np.random.default_rng(1).permutation(_slope(1.0, -5.0, 12))), rate=0.6, drift=0.15
    ),
    World("many arms", _slope(0.5, -6.0, 200), rate=0.12, reach=20.0),
    World("uneven costs", _slope(0.0, -6.0, 12), rate=0.9, cost=_costs(12, 8.0, None)),
    World("small batch", _slope(0.0, -5.0, 8), rate=0.6, groups=16, rollouts=4),
)


def _staged(world: World) -> dict[str, Any]:
    return {"steps_per_stage": max(1, world.steps // len(world.start))}


CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform": ("uniform", {}),
    "easy to hard, expand": ("staged", {}),
    "easy to hard, replace": ("staged", {"mode": "replace"}),
    "hard to easy": ("staged", {"order": "hard_to_easy"}),
    "by mastery": ("staged", {"advance": "mastery"}),
    "dump (code)": ("dump", {}),
    "dump (paper)": ("dump", {"variant": "paper"}),
    "sec (paper, tau 0.4)": ("sec", {}),
    "sec (code, tau 0.2)": ("sec", {"variant": "code", "tau": 0.2}),
    "learnability": ("learnability", {}),
    "learnability, Thompson": ("learnability", {"rule": "thompson"}),
    "plr": ("plr", {}),
    "tscl": ("tscl", {}),
    "adarft": ("adarft", {}),
    "frontier": ("frontier", {}),
    "frontier without progress": ("frontier", {"closed": 1.0}),
}
"""Name in the tables, algorithm and options; staged plans spread their stages over the steps there are."""


def make(name: str, world: World) -> Curriculum:
    algorithm, options = CONTENDERS[name]
    if algorithm == "staged":
        options = _staged(world) | options
    return build_curriculum(algorithm, arms=world.arms, **options)
