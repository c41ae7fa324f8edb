"""What callers hand to the curriculum, checked and brought into one form before anything moves."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rollouts = float | Sequence[float]


def new_ids(ids: Sequence[str], rows: Mapping[str, int]) -> list[str]:
    """Task ids to be registered: at least one, none twice or known already."""
    if isinstance(ids, str) or not len(ids):
        raise ValueError("register_tasks needs a list of at least one task id")
    wrong = [task for task in ids if not isinstance(task, str)]
    if wrong:
        raise ValueError(f"task ids must be text, got {wrong[0]!r}")
    counted = Counter(ids)
    twice = sorted(task for task, times in counted.items() if times > 1 or task in rows)
    if twice:
        raise ValueError(f"tasks registered twice: {some(twice)}; remove_tasks first to replace one")
    return list(ids)


def known_rows(ids: Iterable[str], rows: Mapping[str, int]) -> list[int]:
    """The rows of tasks that must have been registered."""
    found = []
    for task in ids:
        if task not in rows:
            close = difflib.get_close_matches(str(task), rows, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "register it first"
            raise ValueError(f"unknown task {task!r}; {hint}")
        found.append(rows[task])
    return found


def guessed_rates(ids: Sequence[str], difficulties: Sequence[float | None] | None) -> Floats:
    """Solve rates, float64[n], from difficulties in [0, 1]; nan where none is given."""
    if difficulties is None:
        return np.full(len(ids), np.nan)
    if len(difficulties) != len(ids):
        raise ValueError(f"{len(ids)} tasks were given with {len(difficulties)} initial difficulties")
    for task, value in zip(ids, difficulties, strict=True):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(
                f"the initial difficulty of task {task!r} must lie between 0 and 1, got {value!r};"
                " use None where it is unknown"
            )
    return np.array([np.nan if value is None else 1.0 - value for value in difficulties])


def grouped(
    what: str, ids: Sequence[str], rows: Sequence[int], given: Sequence[Rollouts], separate: bool
) -> list[tuple[int, Floats]]:
    """Rows with the numbers given for each, in order of first appearance: those of one task together, or, if
    `separate`, each entry on its own."""
    if len(given) != len(ids):
        raise ValueError(f"{len(ids)} task ids were given with {len(given)} {what}")
    found: dict[tuple[int, int], list[float]] = {}
    for place, (task, row, entry) in enumerate(zip(ids, rows, given, strict=True)):
        numbers = [float(x) for x in (entry if isinstance(entry, Sequence | np.ndarray) else [entry])]
        if not all(math.isfinite(x) and 0.0 <= x <= 1.0 for x in numbers):
            raise ValueError(f"{what} of task {task!r} must lie between 0 and 1, got {entry!r}")
        found.setdefault((row, place if separate else 0), []).extend(numbers)
    return [(row, np.array(numbers)) for (row, _), numbers in found.items()]


def some(names: Iterable[str]) -> str:
    """The first few names, for a message."""
    listed = list(names)
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")
