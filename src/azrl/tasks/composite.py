"""Joins two programs into one: what the first returns is the second's argument.

Composite functions are how Absolute Zero (arXiv 2505.03335, appendix) would grow harder tasks from easy ones: two
programs of one statement give one of two, and so on, whatever the proposer can write by itself. The text is a
draft like any other, and the gate has the last word on it.
"""

from __future__ import annotations

import ast

from azrl.tasks.normalise import parse

_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class NotComposable(ValueError):
    """These two cannot be joined; the message says why."""


def composite(first: str, second: str) -> str:
    """Source of `f` that runs the body of `first`'s `f`, then of `second`'s on its result.

    With a statements in the first and b in the second it has a + b. Both need a top-level `f` of one return, its
    last statement; the second takes exactly one argument. Helpers and imports of both are kept, and names that both
    define beside `f` are refused. Comments are lost. Local names may coincide: the joined program then means what
    it says, not necessarily what its parts did. Raises NotComposable, or Unparsable for what is no program."""
    (before, outer), (more, inner) = _parts(first), _parts(second)
    if clash := {n.name for n in before if isinstance(n, _NAMED)} & {
        n.name for n in more if isinstance(n, _NAMED)
    }:
        raise NotComposable(f"both define {sorted(clash)[0]}")
    last = outer.body[-1]
    if not isinstance(last, ast.Return) or last.value is None or _returns(outer) != 1:
        raise NotComposable("the first must end with its only return")
    arguments = inner.args
    if (
        len(arguments.args) != 1
        or arguments.posonlyargs
        or arguments.kwonlyargs
        or arguments.vararg
        or arguments.kwarg
    ):
        raise NotComposable("the second must take one argument")
    handover = ast.Assign([ast.Name(arguments.args[0].arg, ast.Store())], last.value, lineno=last.lineno)
    outer.body = [*outer.body[:-1], handover, *inner.body]
    return ast.unparse(ast.Module([*before, *more, outer], type_ignores=[]))


def _parts(program: str) -> tuple[list[ast.stmt], ast.FunctionDef]:
    body = parse(program).body
    entries = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == "f"]
    if len(entries) != 1 or entries[0].decorator_list:
        raise NotComposable("each must define one plain f")
    return [n for n in body if n is not entries[0]], entries[0]


def _returns(function: ast.FunctionDef) -> int:
    return sum(isinstance(node, ast.Return) for node in ast.walk(function))
