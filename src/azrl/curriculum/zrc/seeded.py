"""Randomness as a function of words: the same words give the same numbers in any process."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(*words: object) -> np.random.Generator:
    """A generator seeded by the text of `words` (numbers and strings), independent of PYTHONHASHSEED."""
    entropy = hashlib.sha256("\0".join(str(word) for word in words).encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(entropy[:16], "little")))
