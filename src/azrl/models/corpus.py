"""Executed examples of the tiny world: what the warm start shows and what the frozen probe asks.

Programs come from the seeded grammar; every output comes from the executor that the caller passes in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from azrl.models import programs
from azrl.tasks.normalise import program_key
from azrl.tasks.types import Kind, Task

Execute = Callable[[Sequence[tuple[str, Sequence[str]]]], list[Sequence[str | None]]]

PAIRS = 6
MAX_VALUE_CHARS = 24
_BLOCK = 512


def executed(
    rng: Random, bins: Sequence[int], execute: Execute, *, seen: set[str], distinct: bool
) -> Iterator[tuple[str, int, tuple[str, ...], tuple[str, ...]]]:
    """Endless (program, bin, inputs, outputs) with `PAIRS` distinct inputs, in the order of `bins`, repeated.

    Refused and drawn again: programs whose key is in `seen`, that fail on an input, whose outputs are all alike
    or all equal to the inputs, or longer than `MAX_VALUE_CHARS`. With `distinct`, every key that is yielded
    joins `seen`.
    """
    while True:
        block = []
        for i in range(_BLOCK):
            size = bins[i % len(bins)]
            source, kind = programs.program(rng, size)
            drawn: dict[str, None] = {}
            while len(drawn) < PAIRS:
                drawn[programs.argument(rng, kind)] = None
            block.append((source, size, tuple(drawn)))
        outcomes = execute([(source, inputs) for source, _, inputs in block])
        for (source, size, inputs), outputs in zip(block, outcomes, strict=True):
            proven = tuple(o for o in outputs if o is not None and len(o) <= MAX_VALUE_CHARS)
            if len(proven) < PAIRS or len(set(proven)) == 1 or proven == inputs:
                continue
            key = program_key(source)
            if key in seen:
                continue
            if distinct:
                seen.add(key)
            yield source, size, inputs, proven


def tasks_of(program: str, size: int, inputs: Sequence[str], outputs: Sequence[str]) -> dict[Kind, Task]:
    """The three tasks of one executed program: first pair for abduction and deduction, half shown for induction."""
    pair = {"program": program, "inputs": (inputs[0],), "outputs": (outputs[0],), "bin": size}
    return {
        Kind.ABDUCTION: Task(Kind.ABDUCTION, **pair),  # type: ignore[arg-type]
        Kind.DEDUCTION: Task(Kind.DEDUCTION, **pair),  # type: ignore[arg-type]
        Kind.INDUCTION: Task(
            Kind.INDUCTION, program, tuple(inputs), tuple(outputs), shown=len(inputs) // 2, bin=size
        ),
    }
