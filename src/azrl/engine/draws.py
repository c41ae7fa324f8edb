"""Randomness that depends only on (seed, sample index, position): what else is in the batch cannot matter.

The uniforms are SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) used as a hash of a counter, so that any
block of them is one vectorised numpy expression with no generator state to carry or to checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_GAMMA = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


def _mix(word: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def uniforms(keys: Sequence[tuple[int, int]], length: int) -> npt.NDArray[np.float32]:
    """`length` uniforms for each (seed, sample) key: float32 [length, len(keys)] in [0, 1).

    Seeds are taken modulo 2**64. Values are multiples of 2**-23, the coarsest grid on which
    `u * total < total` holds in float32 for every total, so an inverse-CDF search never runs off the end.
    """
    seeds = np.array([seed & _WORD for seed, _ in keys], dtype=np.uint64)
    samples = np.array([sample & _WORD for _, sample in keys], dtype=np.uint64)
    gamma = np.uint64(_GAMMA)
    with np.errstate(over="ignore"):
        rows = _mix(_mix(seeds + gamma) + (samples + np.uint64(1)) * gamma)
        steps = np.arange(1, length + 1, dtype=np.uint64)[:, None] * gamma
        bits = _mix(rows[None, :] + steps) >> np.uint64(41)
    return bits.astype(np.float32) * np.float32(2.0**-23)
