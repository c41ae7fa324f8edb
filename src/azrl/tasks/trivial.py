"""Tasks that can be answered without reasoning: what to look for, each as a reason or None.

Absolute Zero's gate has none of these checks; its released seeds hold identities and messages with code.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from azrl.tasks.judge import call, render
from azrl.tasks.normalise import normalise, syntax

READABLE = 4
"""Shorter texts are found in any other by chance, so finding them there is no leak."""
_COMMON = frozenset({"True", "False", "None"})
_CODE_LINE = 12


def sole_value(arguments: str) -> str | None:
    """The value of a call's only argument, named or not, as canonical text; None if there are several."""
    values, keywords = call(arguments)
    every = [*values, *keywords.values()]
    return render(every[0]) if len(every) == 1 else None


def identity(inputs: Sequence[str], outputs: Sequence[str]) -> bool:
    """Every output repeats its input: the only argument, or the tuple of all."""
    return all(o in (sole_value(i), f"({i})") for i, o in zip(inputs, outputs, strict=True))


def constant(outputs: Sequence[str]) -> bool:
    """Every output, on distinct inputs, is the same; fewer than three prove nothing."""
    return len(outputs) >= 3 and len(set(outputs)) == 1


def ignores_input(program: str) -> bool:
    """Whether `f` reads none of its parameters: for an input such as `[]` or None, which has too few variants to
    show that the output is constant."""
    [entry] = [n for n in syntax(program).module.body if isinstance(n, ast.FunctionDef) and n.name == "f"]
    given = entry.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    names = {argument.arg for argument in named}
    read = (n.id for n in ast.walk(entry) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
    return names.isdisjoint(read)


def readable(answer: str | None, text: str) -> bool:
    """Whether a text holds the answer, in either kind of quotes."""
    if answer is None or len(answer) < READABLE or answer in _COMMON:
        return False
    return answer in text or answer.replace("'", '"') in text


def input_leak(arguments: str, program: str) -> bool:
    """Whether an abduction's answer stands in its program."""
    return readable(arguments, program) or readable(sole_value(arguments), program)


def comment_leak(answer: str, program: str) -> bool:
    """Whether an answer stands in the program's comments, docstrings or annotations and not in its code."""
    return readable(answer, program) and not readable(answer, normalise(program))


def message_leak(message: str, program: str, hidden: Sequence[str] = ()) -> str | None:
    """What an induction's message gives away: code, a line of the program, or a hidden output."""
    if "def " in message or "lambda" in message:
        return "code in message"
    lines, said = map(str.strip, program.splitlines()), "".join(message.split())
    if any(len(line) >= _CODE_LINE and "".join(line.split()) in said for line in lines):
        return "program in message"
    return "output in message" if any(readable(output, message) for output in hidden) else None
