"""What sampling needs of every task, as arrays in memory beside the database."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from azrl.tasks.types import KINDS, Kind

_TYPES = {
    "row": np.int64,  # database row, ascending
    "kind": np.int8,  # index into KINDS
    "cell": np.int16,  # number of its (kind, bin), by first appearance
    "program": np.int64,  # digest of the program key
    "solve": np.float64,  # posterior mean solve rate
    "log_weight": np.float64,
}


class Columns:
    """Growing parallel arrays, one place a task, in order of insertion.

    The order depends on nothing but the insertions, so arrays read back from the database equal those that
    were saved, and a draw from either is the same.
    """

    def __init__(self) -> None:
        self._size = 0
        self._arrays: dict[str, NDArray] = {name: np.zeros(64, dtype) for name, dtype in _TYPES.items()}
        self._cells: dict[tuple[Kind, int], int] = {}
        self._members: dict[tuple[Kind | None, tuple[int, ...] | None], NDArray[np.int64]] = {}
        self._by_cell: list[NDArray[np.int64]] = []

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> NDArray:
        """A view, of length len(self)."""
        return self._arrays[name][: self._size]

    def append(self, *, kind: Kind, bin: int, key: str, **values: float) -> None:
        """Add a task at the end; the capacity doubles when full."""
        if self._size == len(self._arrays["row"]):
            self._arrays = {name: np.concatenate([a, np.zeros_like(a)]) for name, a in self._arrays.items()}
        self._size += 1
        cell = self._cells.setdefault((kind, bin), len(self._cells))
        self.set(self._size - 1, kind=KINDS.index(kind), cell=cell, program=_digest(key), **values)
        self._forget()

    def set(self, position: int, **values: float) -> None:
        """Change some fields of one task."""
        for name, value in values.items():
            self._arrays[name][position] = value

    def position(self, row: int) -> int:
        """Where a database row that is present lies."""
        return int(np.searchsorted(self["row"], row))

    def remove(self, positions: NDArray[np.int64]) -> None:
        """Take tasks out; the others keep their order."""
        keep = np.ones(self._size, dtype=bool)
        keep[positions] = False
        kept = int(keep.sum())
        for array in self._arrays.values():
            array[:kept] = array[: self._size][keep]
        self._size = kept
        self._forget()

    def sharing(self, key: str) -> int:
        """How many tasks have this program key."""
        return int(np.count_nonzero(self["program"] == _digest(key)))

    def members(self, kind: Kind | None, bins: Collection[int] | None) -> NDArray[np.int64]:
        """Positions of the tasks of a kind and of some bins; None asks for all of them. Ascending within each
        (kind, bin), and these in order. Kept until tasks come or go."""
        wanted = (kind, None if bins is None else tuple(sorted(set(bins))))
        if wanted not in self._members:
            by_cell = self._positions()
            parts = [
                by_cell[number]
                for (its_kind, its_bin), number in sorted(self._cells.items())
                if kind in (None, its_kind) and (bins is None or its_bin in bins)
            ]
            self._members[wanted] = np.concatenate([np.zeros(0, np.int64), *parts])
        return self._members[wanted]

    def counts(self) -> dict[tuple[Kind, int], int]:
        """Tasks by (kind, bin), sorted; cells without tasks are left out."""
        numbers = np.bincount(self["cell"], minlength=len(self._cells)).tolist()
        return {cell: numbers[number] for cell, number in sorted(self._cells.items()) if numbers[number]}

    def histogram(self, cells: int) -> dict[Kind, list[int]]:
        """For each kind, tasks by posterior mean solve rate, in equal cells of [0, 1]."""
        cell = np.minimum((self["solve"] * cells).astype(np.int64), cells - 1) + cells * self["kind"]
        numbers = np.bincount(cell, minlength=cells * len(KINDS)).reshape(len(KINDS), cells)
        return dict(zip(KINDS, numbers.tolist(), strict=True))

    def _positions(self) -> list[NDArray[np.int64]]:
        """Positions by cell, ascending. One radix sort serves all cells until tasks come or go."""
        if not self._by_cell:
            order = np.argsort(self["cell"], kind="stable")
            sizes = np.bincount(self["cell"], minlength=len(self._cells))
            self._by_cell = np.split(order, np.cumsum(sizes)[:-1])
        return self._by_cell

    def _forget(self) -> None:
        self._members.clear()
        self._by_cell = []


def _digest(key: str) -> int:
    """A program key as a signed 64-bit number that is the same in every process."""
    data = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(data, "little", signed=True)
