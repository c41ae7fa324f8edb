"""Drafts made from the buffer: two proven programs become one of the size that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from azrl.buffer import TaskBuffer
from azrl.seeding import generator
from azrl.selfplay.proposer import parse_arm
from azrl.tasks import judge
from azrl.tasks.composite import NotComposable, composite
from azrl.tasks.types import Draft, Spec, Task

_TRIES = 4  # candidates for the second half; the first that takes what the first half gives is used


class Composer:
    """Draws pairs of the buffer's programs and joins them. Randomness is a function of `seed` and the step."""

    def __init__(self, buffer: TaskBuffer, seed: int):
        self._buffer, self._seed = buffer, seed

    def drafts(self, arms: Sequence[str], step: int) -> list[Draft]:
        """One draft an arm, of its kind and number of statements, on inputs of the first half's own task. Arms of
        one statement, and those for which the buffer has no pair that fits, give none."""
        rng = generator(self._seed, step, "composites")
        drafts = (self._draft(parse_arm(arm), rng) for arm in arms)
        return [draft for draft in drafts if draft is not None]

    def _draft(self, spec: Spec, rng: np.random.Generator) -> Draft | None:
        if spec.bin < 2:
            return None
        size = int(rng.integers(1, spec.bin))
        for first in self._buffer.references(spec.kind, 1, rng=rng, bins=(size,)):
            for second in self._buffer.references(None, _TRIES, rng=rng, bins=(spec.bin - size,)):
                if not _takes(second, first.outputs[0]):
                    continue
                try:
                    program = composite(first.program, second.program)
                except NotComposable:
                    continue
                return Draft(spec.kind, program, first.inputs, "", spec.bin, (first.id, second.id))
        return None


def _takes(task: Task, value: str) -> bool:
    """Whether `task` is known to work on a sole argument of the type of `value`."""
    values, keywords = judge.call(task.inputs[0])
    every = [*values, *keywords.values()]
    return len(every) == 1 and type(every[0]) is type(judge.literal(value))
