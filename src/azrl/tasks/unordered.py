"""A look at a program's syntax: could its result hang on the hash seed or on addresses?

Where it could, two interpreters may agree by luck (a set of three strings has six orders), so the gate asks more of
them. Seeing too much costs two runs; what is not seen here is still run in two interpreters.
"""

from __future__ import annotations

import ast

from azrl.tasks.normalise import syntax

_NAMES = frozenset({"set", "frozenset", "hash", "id", "object", "__hash__", "random", "Random", "popitem"})
_VIEWS = frozenset({"keys", "items"})
_TOLD_BY = frozenset({ast.Set, ast.SetComp, ast.Name, ast.Attribute, ast.alias, ast.BinOp})
_SET_OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)


def suspected(program: str) -> bool:
    """Whether sets, hashes, addresses or views used as sets occur. Raises normalise.Unparsable."""
    return any(type(node) in _TOLD_BY and _suspect(node) for node in syntax(program).nodes)


def _suspect(node: ast.AST) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
            return name in _NAMES
        case ast.BinOp(op=op, left=left, right=right):
            return isinstance(op, _SET_OPERATORS) and (_view(left) or _view(right))
    return False


def _view(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _VIEWS
