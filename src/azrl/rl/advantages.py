"""Advantages: how much better each completion did than what was to be expected. One number a sequence.

Everything here is numpy float64 and free of torch. Two kinds of baseline: estimators over *cells*
(kind, role) compare a completion with all of its cell, estimators over *groups* with the other completions
of its prompt. Degenerate cases: where all rewards compared are equal (a single one included) the advantage
is exactly 0, never NaN; only `trr++` with a baseline that has seen the cell still has something to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from azrl.rl.baseline import Cell, CellBaseline

__all__ = ["ESTIMATORS", "CellBaseline", "estimate"]

Label = TypeVar("Label", bound=Hashable)
EPS = 1e-8
GRPO_EPS = 1e-4  # TRL's


def estimate(
    name: str,
    rewards: Sequence[float] | np.ndarray,
    *,
    cells: Sequence[Cell],
    groups: Sequence[Hashable] | None = None,
    lengths: Sequence[int] | None = None,
    baseline: CellBaseline | None = None,
) -> np.ndarray:
    """Advantages float64 [N] of `rewards` [N] by the estimator called `name` (any case).

    `cells` are (kind, role) pairs; `groups` any labels, equal for completions of one prompt (needed by grpo,
    rloo, dr_grpo); `lengths` completion tokens (needed by trr++_token). `baseline` is read and then updated
    by trr++. What an estimator does not need it ignores. ValueError: unknown name, a needed argument
    missing, arguments that differ in length, non-finite rewards, completion lengths below 1."""
    scores = np.asarray(rewards, dtype=np.float64)
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError("rewards must be a flat sequence of finite numbers")
    for label, values in (("cells", cells), ("groups", groups), ("lengths", lengths)):
        if values is not None and len(values) != len(scores):
            raise ValueError(f"{len(scores)} rewards but {len(values)} {label}")
    key = name.lower()
    if key in GROUP_ESTIMATORS:
        if groups is None:
            raise ValueError(f"{name} compares completions of one prompt: give groups")
        return _apart(scores, groups, GROUP_ESTIMATORS[key])
    if key == "trr++":
        return trr(scores, cells, baseline)
    if key == "trr++_token":
        if lengths is None:
            raise ValueError(f"{name} weights by tokens: give lengths")
        return trr_token(scores, cells, np.asarray(lengths, dtype=np.float64))
    if key == "reinforce++":
        return reinforce(scores)
    raise ValueError(f"unknown estimator {name!r}; known: {', '.join(ESTIMATORS)}")


def trr(rewards: np.ndarray, cells: Sequence[Cell], baseline: CellBaseline | None = None) -> np.ndarray:
    """TRR++ (Absolute Zero, arXiv 2505.03335, Eq. 8): A = (r - mean) / (std + 1e-8) within each (kind, role)
    cell, every sequence alike, population std. With a `baseline`, mean and second moment of the batch are
    first shrunk towards the running ones (see `CellBaseline`), which then take the batch in."""
    advantages = np.zeros_like(rewards)
    for cell, index in _members(cells):
        values = rewards[index]
        if baseline is None:
            advantages[index] = reinforce(values)
        else:
            mean, std = baseline.moments(cell, values)
            baseline.observe(cell, values)
            advantages[index] = (values - mean) / (std + EPS)
    return advantages


def trr_token(rewards: np.ndarray, cells: Sequence[Cell], lengths: np.ndarray) -> np.ndarray:
    """TRR++ as the code of Absolute Zero has it (verl's masked whitening): each of a sequence's L tokens
    carries its reward, so within a cell of N tokens mean = sum(L r) / N, var = sum(L (r - mean)^2) / (N - 1)
    and A = (r - mean) / sqrt(var + 1e-8). Long completions dominate the baseline."""
    if len(lengths) and lengths.min() < 1:
        raise ValueError("completion lengths must be at least 1")
    advantages = np.zeros_like(rewards)
    for _, index in _members(cells):
        values, weights = rewards[index], lengths[index]
        if np.ptp(values) > 0:
            centred = values - np.average(values, weights=weights)
            variance = (weights * centred**2).sum() / (weights.sum() - 1)
            advantages[index] = centred / np.sqrt(variance + EPS)
    return advantages


def reinforce(rewards: np.ndarray) -> np.ndarray:
    """REINFORCE++ (arXiv 2501.03262): A = (r - mean) / (std + 1e-8) over all that is given, population std,
    every sequence alike (verl's version weights by tokens)."""
    if not len(rewards) or np.ptp(rewards) == 0:
        return np.zeros_like(rewards)
    return (rewards - rewards.mean()) / (rewards.std() + EPS)


def grpo(rewards: np.ndarray) -> np.ndarray:
    """GRPO (DeepSeekMath, arXiv 2402.03300) on one group: A = (r - mean) / (std + 1e-4), unbiased std and
    epsilon as in TRL."""
    if np.ptp(rewards) == 0:
        return np.zeros_like(rewards)
    return (rewards - rewards.mean()) / (rewards.std(ddof=1) + GRPO_EPS)


def rloo(rewards: np.ndarray) -> np.ndarray:
    """RLOO (arXiv 2402.14740) on one group of n: A = r - mean of the others = n / (n - 1) (r - mean)."""
    n = len(rewards)
    return dr_grpo(rewards) * n / max(n - 1, 1)


def dr_grpo(rewards: np.ndarray) -> np.ndarray:
    """Dr. GRPO (arXiv 2503.20783) on one group: A = r - mean; dividing by the std would favour groups that
    are nearly always right or wrong."""
    if np.ptp(rewards) == 0:
        return np.zeros_like(rewards)
    return rewards - rewards.mean()


GROUP_ESTIMATORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "grpo": grpo,
    "rloo": rloo,
    "dr_grpo": dr_grpo,
}
ESTIMATORS: tuple[str, ...] = ("trr++", "trr++_token", "reinforce++", *GROUP_ESTIMATORS)


def _members(labels: Sequence[Label]) -> Iterator[tuple[Label, np.ndarray]]:
    """Each label with the positions that carry it, in order of first appearance."""
    positions: dict[Label, list[int]] = {}
    for position, label in enumerate(labels):
        positions.setdefault(label, []).append(position)
    for label, found in positions.items():
        yield label, np.asarray(found)


def _apart(
    rewards: np.ndarray, labels: Sequence[Hashable], one: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """`one` applied to each label's rewards alone."""
    advantages = np.zeros_like(rewards)
    for _, index in _members(labels):
        advantages[index] = one(rewards[index])
    return advantages
