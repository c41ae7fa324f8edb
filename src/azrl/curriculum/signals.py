"""What groups of rollouts tell: advantages, how large they are, how often the group was solved.

Values are per outcome, in the order given; `mean_by_arm` brings them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.base import Outcome

Array = NDArray[np.float64]
Normalise = Literal["std", "mean"]


def advantages(outcomes: Sequence[Outcome], normalise: Normalise = "std") -> list[Array]:
    """The trainer's advantages where an outcome has them, else those of its rewards: `std` is GRPO's
    (r - mean) / (std + 1e-6) with the unbiased std, `mean` is r - mean. A group of one has no mean to compare
    with and keeps its reward, as in verl."""
    sizes = {len(outcome.rewards) for outcome in outcomes}
    if len(sizes) == 1 and all(outcome.advantages is None for outcome in outcomes):
        return list(
            _relative(np.array([outcome.rewards for outcome in outcomes], dtype=np.float64), normalise)
        )
    return [
        _relative(np.array([outcome.rewards], dtype=np.float64), normalise)[0]
        if outcome.advantages is None
        else np.array(outcome.advantages, dtype=np.float64)
        for outcome in outcomes
    ]


def magnitudes(outcomes: Sequence[Outcome], normalise: Normalise = "std") -> Array:
    """Mean |advantage| of each group."""
    rows = advantages(outcomes, normalise)
    if len({len(row) for row in rows}) == 1:
        return np.abs(np.array(rows)).mean(axis=1)
    return np.array([np.abs(row).mean() for row in rows])


def mean_rewards(outcomes: Sequence[Outcome]) -> Array:
    """Mean reward of each group."""
    return np.array([sum(outcome.rewards) / len(outcome.rewards) for outcome in outcomes])


def solve_rates(outcomes: Sequence[Outcome], solved_at: float) -> Array:
    """Share of each group's rollouts with at least this reward."""
    return np.array(
        [sum(r >= solved_at for r in outcome.rewards) / len(outcome.rewards) for outcome in outcomes]
    )


def arm_numbers(outcomes: Sequence[Outcome], index: Mapping[str, int]) -> NDArray[np.int64]:
    """Each outcome's arm as its place among the arms."""
    return np.array([index[outcome.arm] for outcome in outcomes], dtype=np.int64)


def mean_by_arm(values: Array, outcomes: Sequence[Outcome], index: Mapping[str, int]) -> tuple[Array, Array]:
    """For each arm the mean of its groups' values over all rollouts (0 where there are none), and the number of
    rollouts."""
    arm = arm_numbers(outcomes, index)
    sizes = np.array([len(outcome.rewards) for outcome in outcomes], dtype=np.float64)
    rollouts = np.bincount(arm, sizes, len(index)).astype(np.float64)
    return np.bincount(arm, sizes * values, len(index)) / np.maximum(rollouts, 1.0), rollouts


def _relative(rewards: Array, normalise: Normalise) -> Array:
    if rewards.shape[1] == 1:
        return rewards / (1.0 + 1e-6) if normalise == "std" else rewards
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    if normalise == "mean":
        return centred
    return centred / (rewards.std(axis=1, ddof=1, keepdims=True) + 1e-6)
