"""Executed examples of the tiny world: what the warm start shows and what the frozen probe asks.

Programs come from the seeded grammar; every output comes from the executor that the caller passes in.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from azrl.models import programs
from azrl.tasks.normalise import program_key
from azrl.tasks.types import Kind, Task
from azrl.tasks.working import recorded

Execute = Callable[[Sequence[tuple[str, Sequence[str]]]], list[Sequence[str | None]]]

PAIRS = 6
MAX_VALUE_CHARS = 24
_BLOCK = 512


class Executed(NamedTuple):
    """A program of `size` statements with `PAIRS` inputs. `values[i]`: canonical texts of what each operation gave
    for `inputs[i]`, what it returns last."""

    program: str
    size: int
    inputs: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(values[-1] for values in self.values)


def executed(
    rng: Random, bins: Sequence[int], execute: Execute, *, seen: set[str], distinct: bool
) -> Iterator[Executed]:
    """Endless executed programs of the sizes in `bins`, in that order, repeated.

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
        outcomes = execute([(recorded(source), inputs) for source, _, inputs in block])
        for (source, size, inputs), outputs in zip(block, outcomes, strict=True):
            if any(output is None for output in outputs):
                continue
            values = tuple(tuple(ast.literal_eval(output or "")) for output in outputs)
            found = Executed(source, size, inputs, values)
            if any(len(o) > MAX_VALUE_CHARS for o in found.outputs):
                continue
            if len(set(found.outputs)) == 1 or found.outputs == inputs:
                continue
            key = program_key(source)
            if key in seen:
                continue
            if distinct:
                seen.add(key)
            yield found


def tasks_of(found: Executed) -> dict[Kind, Task]:
    """The three tasks of one executed program: first pair for abduction and deduction, half shown for induction."""
    program, size, inputs, outputs = found.program, found.size, found.inputs, found.outputs
    pair = {"program": program, "inputs": (inputs[0],), "outputs": (outputs[0],), "bin": size}
    return {
        Kind.ABDUCTION: Task(Kind.ABDUCTION, **pair),  # type: ignore[arg-type]
        Kind.DEDUCTION: Task(Kind.DEDUCTION, **pair),  # type: ignore[arg-type]
        Kind.INDUCTION: Task(Kind.INDUCTION, program, inputs, outputs, shown=len(inputs) // 2, bin=size),
    }
