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
    "bin": np.int64,
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
        self._cache: dict[tuple[Kind | None, tuple[int, ...] | None], NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> NDArray:
        """A view, of length len(self)."""
        return self._arrays[name][: self._size]

    def append(self, *, kind: str, key: str, **values: float) -> None:
        """Add a task at the end; the capacity doubles when full."""
        if self._size == len(self._arrays["row"]):
            self._arrays = {name: np.concatenate([a, np.zeros_like(a)]) for name, a in self._arrays.items()}
        self._size += 1
        self.set(self._size - 1, kind=KINDS.index(Kind(kind)), program=_digest(key), **values)
        self._cache.clear()

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
        self._cache.clear()

    def members(self, kind: Kind | None, bins: Collection[int] | None) -> NDArray[np.int64]:
        """Ascending positions of the tasks of a kind and of some bins; None asks for all of them. Kept until
        tasks come or go."""
        wanted = (kind, None if bins is None else tuple(sorted(bins)))
        if wanted not in self._cache:
            mask = np.ones(self._size, dtype=bool)
            if kind is not None:
                mask &= self["kind"] == KINDS.index(kind)
            if bins is not None:
                mask &= np.isin(self["bin"], list(bins))
            self._cache[wanted] = np.flatnonzero(mask)
        return self._cache[wanted]

    def counts(self) -> dict[tuple[Kind, int], int]:
        """Tasks by (kind, bin), sorted; cells without tasks are left out."""
        cells, numbers = np.unique(np.stack([self["kind"], self["bin"]]), axis=1, return_counts=True)
        pairs = zip(cells.T.tolist(), numbers.tolist(), strict=True)
        return {(KINDS[kind], bin): number for (kind, bin), number in pairs}

    def histogram(self, cells: int) -> dict[Kind, list[int]]:
        """For each kind, tasks by posterior mean solve rate, in equal cells of [0, 1]."""
        cell = np.minimum((self["solve"] * cells).astype(np.int64), cells - 1)
        return {
            kind: np.bincount(cell[self["kind"] == number], minlength=cells).tolist()
            for number, kind in enumerate(KINDS)
        }


def _digest(key: str) -> int:
    """A program key as a signed 64-bit number that is the same in every process."""
    data = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(data, "little", signed=True)
