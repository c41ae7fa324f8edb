"""Randomness as a function: every draw is keyed by the run's seed, the step and a purpose.

So nothing random has to be saved: a run resumed at step k draws at step k + 1 what it would have drawn.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(*key: int | str) -> int:
    """A 63-bit seed from a key such as (42, step, "propose"); independent of PYTHONHASHSEED."""
    digest = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*key: int | str) -> np.random.Generator:
    """A numpy generator seeded by `derive(*key)`."""
    return np.random.Generator(np.random.Philox(derive(*key)))
