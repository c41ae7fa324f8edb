"""Numbers read back from a saved state: none that is damaged gets in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def floats(name: str, value: Any, shape: tuple[int, ...] | None = None, *, low: float = -math.inf) -> NDArray:
    """float64 of `value`, finite and at least `low`, and of `shape` where one is given; a ValueError that names
    it otherwise."""
    array = np.array(value, dtype=np.float64)
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} should be {shape} numbers, got {array.shape}")
    if not np.isfinite(array).all() or (array < low).any():
        raise ValueError(
            f"{name} should hold finite numbers{'' if low == -math.inf else f' of at least {low:g}'}"
        )
    return array


def number(name: str, value: Any, low: float, high: float = math.inf) -> float:
    """A finite number from `low` to `high`; ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} should be a number from {low:g} to {high:g}, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} should be finite, got {value!r}")
    return float(value)


def count(name: str, value: Any) -> int:
    """A whole number of at least 0; ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} should be a whole number of at least 0, got {value!r}")
    return value


def counts(name: str, value: Any) -> NDArray[np.int64]:
    """int64[n] of a list of whole numbers of at least 0; ValueError otherwise."""
    return np.array([count(name, entry) for entry in value], dtype=np.int64)


def truth(name: str, value: Any) -> bool:
    """True or False and nothing that only passes for it; ValueError otherwise."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} should be true or false, got {value!r}")
    return value
