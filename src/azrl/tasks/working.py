"""Working: what each operation of a program gives, written down by the program itself as it runs.

The text of a program is changed so that it records every operation's value; the sandbox runs it like any other. So the
true steps to a true answer are known wherever a program is, without a teacher.
"""

from __future__ import annotations

import ast
from typing import Any

from azrl.tasks.normalise import parse

_OPERATIONS = (ast.BinOp, ast.Call, ast.Compare, ast.Subscript)

# Around the program's own function, which becomes `recorded_f`. Values are kept as text: what is in them may change.
_FRAME = """
recorded_values = []
def record_value(value):
    recorded_values.append(repr(value))
    return value
def f(*arguments, **named):
    recorded_values.clear()
    recorded_f(*arguments, **named)
    return recorded_values
"""


class _Recorded(ast.NodeTransformer):
    """Wraps operations, and whatever is assigned or returned, in a call of `record_value`. What a comprehension does
    inside, inner functions and the `range` of a loop do not count."""

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            return _record(node)
        if isinstance(node, ast.Lambda | ast.FunctionDef | ast.ClassDef):
            return node
        self.generic_visit(node)
        if (
            isinstance(node, ast.Assign | ast.Return)
            and node.value
            and not _is_call(node.value, "record_value")
        ):
            node.value = _record(node.value)
        if isinstance(node, _OPERATIONS) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            return node if _is_call(node, "range") else _record(node)
        return node


def _record(node: ast.expr) -> ast.Call:
    return ast.Call(ast.Name("record_value", ast.Load()), [node], [])


def _is_call(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def recorded(program: str) -> str:
    """A program whose `f` returns the list of what each operation of the given `f` gave, as `repr` texts in the order
    in which they ran (a loop's once an iteration), what it returned last.

    Only `f` itself is looked into: a helper's call is one operation. A function that calls itself records nonsense,
    so compare the last text with the known output. Raises Unparsable for what is no program; a program without a
    top-level `f` is returned as it is and fails in the sandbox."""
    tree = parse(program)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "f":
            node.name = "recorded_f"
            node.body = [_Recorded().visit(statement) for statement in node.body]
    tree.body += ast.parse(_FRAME).body
    return ast.unparse(ast.fix_missing_locations(tree))
