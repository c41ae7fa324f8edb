"""From scores to shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def softmax(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """exp(score / temperature), scaled to sum 1; the largest score is subtracted first, so nothing overflows."""
    weights = np.exp((scores - scores.max()) / temperature)
    return weights / weights.sum()


def exploration_bonus(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """UCB1's sqrt(2 ln(N + 1) / (n + 1)), N the sum of the counts n, at least 1."""
    return np.sqrt(2.0 * np.log(max(1.0, counts.sum()) + 1.0) / (counts + 1.0))


def greedy(scores: NDArray[np.float64], epsilon: float) -> NDArray[np.float64]:
    """`epsilon` spread over all arms, the rest over those with the highest score."""
    best = scores == scores.max()
    return (1.0 - epsilon) * best / best.sum() + epsilon / len(scores)


def within(name: str, value: Any, low: float, high: float = float("inf"), *, above: bool = False) -> float:
    """The option's value as a number from `low` (or above it) to `high`; else a ValueError that says so."""
    wanted = "finite" if low == -np.inf else f"{'above' if above else 'at least'} {low:g}"
    wanted += f" and at most {high:g}" if high < np.inf else ""
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ValueError(f"{name} should be a number {wanted}, got {value!r}")
    if value > high or value < low or (above and value == low):
        raise ValueError(f"{name} should be {wanted}, got {value!r}")
    return float(value)


def whole(name: str, value: Any, low: int) -> int:
    """The option's value as a whole number of at least `low`; else a ValueError that says so."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{name} should be a whole number of at least {low}, got {value!r}")
    return value


def one_of(name: str, value: Any, words: tuple[str, ...]) -> str:
    """The option's value if it is one of the words; else a ValueError that lists them."""
    if value not in words:
        raise ValueError(f"{name} should be one of {', '.join(words)}, got {value!r}")
    return str(value)
