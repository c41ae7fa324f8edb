"""Programs for the tiny world: a seeded grammar of small Python functions over ints, lists and strings.

A program is `def f(x)` with 1 to 4 top-level statements: assignments, conditionals, loops and a return.
Expressions apply one or two typed operations to a variable. The grammar draws text only; running it is the
executor's work.
"""

from __future__ import annotations

import ast
from random import Random

INT, LIST, STR = "int", "list", "str"
TYPES = (INT, LIST, STR)

# (argument type, result type, text): {x} is the operand, {k} a small int, {m} an int of at least 2, {c} {d} letters.
OPERATIONS: tuple[tuple[str, str, str], ...] = (
    (LIST, LIST, "{x}[::-1]"),
    (LIST, LIST, "sorted({x})"),
    (LIST, LIST, "{x}[1:]"),
    (LIST, LIST, "{x}[:-1]"),
    (LIST, LIST, "{x}[:2]"),
    (LIST, LIST, "{x} + [{k}]"),
    (LIST, LIST, "[{k}] + {x}"),
    (LIST, LIST, "[v + {m} for v in {x}]"),
    (LIST, LIST, "[v for v in {x} if v > {k}]"),
    (LIST, LIST, "[v for v in {x} if v < {k}]"),
    (LIST, INT, "len({x})"),
    (LIST, INT, "sum({x})"),
    (LIST, INT, "max({x})"),
    (LIST, INT, "min({x})"),
    (LIST, INT, "{x}[0]"),
    (LIST, INT, "{x}[-1]"),
    (INT, INT, "{x} + {k}"),
    (INT, INT, "{x} - {k}"),
    (INT, INT, "{x} * {m}"),
    (INT, INT, "{x} % {m}"),
    (INT, INT, "{k} - {x}"),
    (INT, INT, "max({x}, {k})"),
    (INT, LIST, "[{x}, {k}]"),
    (INT, LIST, "[{x}] * {m}"),
    (INT, STR, "str({x})"),
    (STR, STR, "{x}[::-1]"),
    (STR, STR, "{x}.upper()"),
    (STR, STR, "{x} + '{c}'"),
    (STR, STR, "'{c}' + {x}"),
    (STR, STR, "{x}[1:]"),
    (STR, STR, "{x}[:-1]"),
    (STR, STR, "{x}[:2]"),
    (STR, STR, "{x} * 2"),
    (STR, INT, "len({x})"),
    (STR, INT, "{x}.count('{c}')"),
)
CONDITIONS: dict[str, tuple[str, ...]] = {
    INT: ("{x} > {k}", "{x} < {k}", "{x} % 2 == 0"),
    LIST: ("len({x}) > 2", "{k} in {x}", "{x}[0] > {k}"),
    STR: ("len({x}) > 2", "'{c}' in {x}"),
}
LETTERS = "abcd"


def _fill(rng: Random, text: str, operand: str) -> str:
    enclosed = "({x})" in text or "in {x}" in text
    if not enclosed and isinstance(ast.parse(operand, mode="eval").body, ast.BinOp):
        operand = f"({operand})"
    return text.format(
        x=operand, k=rng.randint(0, 5), m=rng.randint(2, 3), c=rng.choice(LETTERS), d=rng.choice(LETTERS)
    )


def _expression(
    rng: Random, name: str, kind: str, want: str | None = None, two: float = 0.4
) -> tuple[str, str]:
    """An expression over variable `name` of type `kind`: (text, type); `want` fixes the type."""
    while True:
        text, now = name, kind
        for _ in range(2 if rng.random() < two else 1):
            _, now, pattern = rng.choice([op for op in OPERATIONS if op[0] == now])
            text = _fill(rng, pattern, text)
        if want in (None, now):
            return text, now


def _statement(rng: Random, types: dict[str, str]) -> str:
    """One statement that is not a return; `types` (variable to type) is updated."""
    name = list(types)[-1] if rng.random() < 0.85 else rng.choice(list(types))
    kind = types[name]
    shape = rng.random()
    if shape < 0.2:
        condition = _fill(rng, rng.choice(CONDITIONS[kind]), name)
        then, _ = _expression(rng, name, kind, want=kind, two=0.0)
        text = f"if {condition}:\n        {name} = {then}"
        if rng.random() < 0.3:
            text += f"\n    else:\n        {name} = {_expression(rng, name, kind, want=kind, two=0.0)[0]}"
        return text
    if shape < 0.4:
        body, _ = _expression(rng, name, kind, want=kind, two=0.0)
        if kind == LIST and rng.random() < 0.5:
            step = f"v{rng.choice((' + ', ' * '))}{rng.randint(2, 3)}"
            return f"for v in {name}[:2]:\n        {name} = {name} + [{step}]"
        return f"for v in range({rng.randint(2, 3)}):\n        {name} = {body}"
    expression, result = _expression(rng, name, kind)
    fresh = [n for n in "yz" if n not in types]
    if (result != kind or rng.random() < 0.25) and fresh:
        name = fresh[0]
    types[name] = result
    return f"{name} = {expression}"


def _body(rng: Random, statements: int) -> tuple[list[str], str, dict[str, str]]:
    kind = rng.choice((INT, LIST, LIST, STR))
    types = {"x": kind}
    lines = [_statement(rng, types) for _ in range(statements - 1)]
    name = list(types)[-1]
    if lines and rng.random() < 0.4:
        lines.append(f"return {name}")
    else:
        lines.append(f"return {_expression(rng, name, types[name])[0]}")
    return lines, kind, types


def program(rng: Random, statements: int) -> tuple[str, str]:
    """Draw a program of `statements` top-level statements: (source, type of its one argument).

    Every variable that is assigned is also read; a draw with a dead assignment is drawn again.
    """
    while True:
        lines, kind, types = _body(rng, statements)
        text = "\n    ".join(lines)
        if all(_reads(text, name) for name in types if name != "x"):
            return f"def f(x):\n    {text}", kind


def _reads(text: str, name: str) -> bool:
    first = text.index(f"{name} = ") + 4
    return any(text[i] == name and text[i + 1 : i + 3] != " =" for i in range(first, len(text)))


def argument(rng: Random, kind: str) -> str:
    """A literal argument of the given type, as canonical text."""
    if kind == INT:
        return repr(rng.randint(0, 9))
    if kind == LIST:
        return repr([rng.randint(0, 5) for _ in range(rng.randint(2, 3))])
    return repr("".join(rng.choice(LETTERS) for _ in range(rng.randint(2, 3))))


def operations(source: str) -> int:
    """How many operations a program is made of: calls, arithmetic, slices and comprehensions."""
    kinds = (ast.Call, ast.BinOp, ast.Subscript, ast.ListComp)
    return sum(isinstance(node, kinds) for node in ast.walk(ast.parse(source)))
