"""Executed examples of the tiny world: what the warm start shows and what the frozen probe asks.

Programs come from the seeded grammar; every output comes from the executor that the caller passes in.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from azrl.models import programs
from azrl.tasks.normalise import program_key
from azrl.tasks.types import Kind, Task

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
        outcomes = execute([(stepped(source), inputs) for source, _, inputs in block])
        for (source, size, inputs), outputs in zip(block, outcomes, strict=True):
            if any(output is None for output in outputs):
                continue
            values = tuple(tuple(map(repr, ast.literal_eval(output or ""))) for output in outputs)
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


_OPERATIONS = (ast.BinOp, ast.Call, ast.Compare, ast.Subscript)


class _Recorded(ast.NodeTransformer):
    """Wraps operations, and whatever is assigned or returned, in a call of `record`. What a comprehension does inside
    and the `range` of a loop do not count."""

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.ListComp):
            return _record(node)
        self.generic_visit(node)
        if isinstance(node, ast.Assign | ast.Return) and node.value and not _is_call(node.value, "record"):
            node.value = _record(node.value)
        if isinstance(node, _OPERATIONS) and not _is_call(node, "range"):
            return _record(node)
        return node


def _record(node: ast.expr) -> ast.Call:
    return ast.Call(ast.Name("record", ast.Load()), [node], [])


def _is_call(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def stepped(source: str) -> str:
    """The same program of the tiny world, returning the list of what each of its operations gave, in the order in
    which they ran (a loop's once an iteration), and at the end what it returned."""
    tree = ast.parse(source)
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    *steps, last = (_Recorded().visit(statement) for statement in function.body)
    recorder = ast.parse("values = []\ndef record(value):\n    values.append(value)\n    return value").body
    function.body = [*recorder, *steps, ast.Expr(last.value), ast.Return(ast.Name("values", ast.Load()))]
    return ast.unparse(ast.fix_missing_locations(tree))


def tasks_of(found: Executed) -> dict[Kind, Task]:
    """The three tasks of one executed program: first pair for abduction and deduction, half shown for induction."""
    program, size, inputs, outputs = found.program, found.size, found.inputs, found.outputs
    pair = {"program": program, "inputs": (inputs[0],), "outputs": (outputs[0],), "bin": size}
    return {
        Kind.ABDUCTION: Task(Kind.ABDUCTION, **pair),  # type: ignore[arg-type]
        Kind.DEDUCTION: Task(Kind.DEDUCTION, **pair),  # type: ignore[arg-type]
        Kind.INDUCTION: Task(Kind.INDUCTION, program, inputs, outputs, shown=len(inputs) // 2, bin=size),
    }
