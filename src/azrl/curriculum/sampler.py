"""Draws of arms: a curriculum's probabilities made into whole numbers, fairly and reproducibly."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.base import Curriculum

_ROUNDING = 1e-9  # a share this close below a whole number is that number


class CurriculumSampler:
    """Draws from `curriculum`. What is drawn is a function of its state, the seed, the step and the purpose
    alone: nothing is remembered between draws, so a resumed run needs only the curriculum's state."""

    def __init__(self, curriculum: Curriculum, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.curriculum = curriculum
        self.seed = seed

    def draw(self, step: int, n: int, *, purpose: str = "") -> list[str]:
        """n arms for this step, in random order. Arm k comes floor(n p_k) or ceil(n p_k) times, n p_k on
        average: with three equal arms and n divisible by three, exactly a third each. Draws of one step
        with different purposes are independent; n = 0 gives none."""
        if n < 0:
            raise ValueError(f"cannot draw {n} arms")
        entropy = hashlib.sha256(f"{self.seed}\0{step}\0{purpose}".encode()).digest()
        rng = np.random.Generator(np.random.Philox(int.from_bytes(entropy[:16], "little")))
        numbers = rng.permutation(np.repeat(np.arange(len(self.curriculum.arms)), self._quota(step, n, rng)))
        return [self.curriculum.arms[number] for number in numbers]

    def _quota(self, step: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """How often each arm comes: the whole parts of n p, and one more for as many arms as are missing,
        chosen by systematic sampling of the fractions (Madow 1949) in random order."""
        shares = n * self.curriculum.probabilities(step)
        quota = np.floor(shares + _ROUNDING).astype(np.int64)
        missing = n - int(quota.sum())
        if missing:
            order = rng.permutation(len(shares))
            edges = np.cumsum(np.maximum(shares - quota, 0.0)[order])
            edges *= missing / edges[-1]
            extra = np.searchsorted(edges, rng.random() + np.arange(missing), side="right")
            np.add.at(quota, order[np.minimum(extra, len(order) - 1)], 1)
        return quota
