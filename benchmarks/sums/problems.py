"""Sums as arms of tasks: generator and verifier.

Two numbers in base 5 stand one above the other, a column of two digits for each place, least significant first. The
answer gives, place by place, the column's total with the carry that comes into it: a digit and the next carry in one
token of 0..9. In `chain` an arm adds numbers of so many digits (leading zeros allowed), so that each answer holds one
of the arm below. In `flat` all columns are filled and an arm wants the total of one, with no carry: no arm needs
another, and all are equally hard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

BASE, WIDTH = 5, 6
TOKENS = 2 * BASE
BLANK = BASE  # fills the columns that a problem does not use
_HELD_OUT = 7  # one problem in so many is for measuring


@dataclass(frozen=True)
class Problems:
    """n problems: `columns` [n, WIDTH, 2] of digits or BLANK; where the answer begins, `first` [n], its `length`
    [n], and `answers` [n, WIDTH], its tokens, then -1."""

    columns: Ints
    first: Ints
    length: Ints
    answers: Ints

    def __getitem__(self, rows: Ints) -> Problems:
        return Problems(self.columns[rows], self.first[rows], self.length[rows], self.answers[rows])

    def right(self, given: Ints) -> NDArray[np.bool_]:
        """Whether each given answer [n, rollouts, WIDTH] has all the right tokens; what follows its length counts
        for nothing."""
        expected = self.answers[:, None]
        return np.asarray(((given == expected) | (expected < 0)).all(axis=-1))


@dataclass(frozen=True)
class Place:
    """Where curricula are tried. The arms are sums of so many digits, or of that column, counted from 1."""

    name: str
    levels: tuple[int, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(f"{self.name} {level}" for level in self.levels)

    def draw(self, arms: Ints, rng: np.random.Generator, *, held_out: bool = False) -> Problems:
        """A random problem for each arm, given by its number; those to practise on are never held out."""
        found = self._draw(arms, rng)
        while len(odd := np.flatnonzero(_is_held_out(found) != held_out)):
            again = self._draw(arms[odd], rng)
            for old, new in zip(vars(found).values(), vars(again).values(), strict=True):
                old[odd] = new
        return found

    def _draw(self, arms: Ints, rng: np.random.Generator) -> Problems:
        columns = rng.integers(0, BASE, (len(arms), WIDTH, 2))
        level = np.array(self.levels)[arms]
        if self.name == "flat":
            answers = np.full((len(arms), WIDTH), -1)
            answers[:, 0] = columns[np.arange(len(arms)), level - 1].sum(axis=1)
            return Problems(columns, level - 1, np.ones_like(level), answers)
        unused = np.arange(WIDTH) >= level[:, None]
        answers = np.where(unused, -1, _totals(columns))
        columns[unused] = BLANK
        return Problems(columns, np.zeros_like(level), level, answers)


CHAIN = Place("chain", (2, 4, 6))
FLAT = Place("flat", (3, 4, 5, 6))


def _totals(columns: Ints) -> Ints:
    """Each column's total with the carry into it."""
    totals = columns.sum(axis=2)
    for k in range(1, WIDTH):
        totals[:, k] += totals[:, k - 1] // BASE
    return totals


def _is_held_out(problems: Problems) -> NDArray[np.bool_]:
    """A fixed seventh of all pairs of numbers."""
    digits = np.where(problems.columns == BLANK, 0, problems.columns)
    numbers = (digits * BASE ** np.arange(WIDTH)[:, None]).sum(axis=1)
    return np.asarray((3 * numbers[:, 0] + numbers[:, 1]) % _HELD_OUT == 0)
