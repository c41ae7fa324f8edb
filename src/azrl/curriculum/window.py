"""The last so many values of each arm: a row an arm, written round and round, zero where nothing is yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


def push(rows: Rows, seen: Rows, arm: int, values: Sequence[float] | Rows) -> None:
    """Add values to the arm's row, oldest first, in place; `seen` counts all values there ever were."""
    width, n = rows.shape[1], len(values)
    places = (int(seen[arm]) + np.arange(max(0, n - width), n)) % width
    rows[arm, places] = values[-width:]
    seen[arm] += n


def means(rows: Rows, seen: Rows) -> Rows:
    """Mean of what is in each row; 0 for an empty one."""
    return rows.sum(axis=1) / np.maximum(1.0, np.minimum(seen, rows.shape[1]))


def in_order(rows: Rows, seen: Rows, arm: int) -> Rows:
    """What is in the arm's row, oldest first."""
    width, n = rows.shape[1], int(seen[arm])
    return rows[arm, :n] if n <= width else np.roll(rows[arm], -(n % width))
