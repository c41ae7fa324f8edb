"""Known jobs: what comes back is compared with what this process computes itself.

Numbers are drawn anew each time, so an answer to an earlier canary cannot pass.
"""

from __future__ import annotations

import random

from azrl.executor.base import Job, Limits, Result, Status

_PROGRAM = """def f(xs, k):
    groups = {}
    for i, x in enumerate(xs):
        groups.setdefault(x % k, []).append(i * x)
    return sorted((key, sum(group)) for key, group in groups.items())
"""
_LIMITS = Limits(cpu_s=5.0, wall_s=60.0)
_draw = random.Random()


def _expected(xs: list[int], k: int) -> list[tuple[int, int]]:
    return sorted((r, sum(i * x for i, x in enumerate(xs) if x % k == r)) for r in {x % k for x in xs})


def draw(variant: int) -> tuple[Job, str]:
    """A canary and its right output."""
    xs, k = [_draw.randrange(1000) for _ in range(6)], _draw.randrange(2, 6)
    return Job(_PROGRAM, (f"{xs}, {k}",), _LIMITS, variant, fresh=True), repr(_expected(xs, k))


def passes(result: Result, expected: str) -> bool:
    """Whether a server gave the right answer."""
    return result.status is Status.OK and result.outputs == (expected,)
