"""The language of `mock`: RestrictedPython's, with a tick where time can pass and bounds where size can grow.

`while` bodies, functions and lambdas call `_tick_`; `for` and comprehensions tick through `_getiter_`; the
operators that can build great values from small ones become calls of `_binop_`. Annotations are dropped.
"""

from __future__ import annotations

import ast
import re
from types import CodeType
from typing import Any, cast

from RestrictedPython import RestrictingNodeTransformer, compile_restricted_exec

_GROWING = {ast.Add: "+", ast.Mult: "*", ast.Pow: "**", ast.LShift: "<<", ast.Mod: "%"}
_AUGMENTED = {
    **_GROWING,
    **{ast.Sub: "-", ast.Div: "/", ast.FloorDiv: "//", ast.RShift: ">>"},
    **{ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^"},
}
_WIDE = re.compile(r"\d{4}")


class NotPermitted(Exception):
    """The program is Python, but not of the kind that `mock` runs."""


def compile_restricted_program(source: str) -> CodeType:
    """Bytecode of a program. Raises NotPermitted, or what the parser raises."""
    ast.parse(source)
    result = compile_restricted_exec(source, "<program>", policy=Ticking)
    if result.code is None:
        raise NotPermitted
    return result.code


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(func=ast.Name(name, ast.Load()), args=list(arguments), keywords=[])


def _placed(new: Any, old: ast.AST) -> Any:
    return ast.fix_missing_locations(ast.copy_location(new, old))


class Ticking(RestrictingNodeTransformer):
    """RestrictedPython's policy with budgets."""

    def _with_tick(self, node: Any) -> Any:
        tick = _placed(ast.Expr(_call("_tick_")), node)
        node.body.insert(0, tick)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        return self._with_tick(super().visit_FunctionDef(node))

    def visit_While(self, node: ast.While) -> Any:
        return self._with_tick(super().visit_While(node))

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        node = cast(ast.Lambda, super().visit_Lambda(node))
        node.body = _placed(ast.BoolOp(ast.Or(), [_call("_tick_"), node.body]), node.body)
        return node

    def visit_arg(self, node: ast.arg) -> Any:
        node.annotation = None
        return super().visit_arg(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return _placed(ast.Pass(), node)
        return self.visit(_placed(ast.Assign([node.target], node.value), node))

    def visit_Nonlocal(self, node: ast.Nonlocal) -> Any:
        return self.node_contents_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        node = cast(ast.BinOp, super().visit_BinOp(node))
        symbol = _GROWING.get(type(node.op))
        if symbol is None:
            return node
        return _placed(_call("_binop_", ast.Constant(symbol), node.left, node.right), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        target, symbol = node.target, _AUGMENTED.get(type(node.op))
        if not isinstance(target, ast.Subscript) or isinstance(target.slice, ast.Slice) or symbol is None:
            return super().visit_AugAssign(node)
        parts = [self.visit(part) for part in (target.value, target.slice, node.value)]
        return _placed(ast.Expr(_call("_augitem_", ast.Constant(f"{symbol}="), *parts)), node)

    def visit_Starred(self, node: ast.Starred) -> Any:
        node = cast(ast.Starred, super().visit_Starred(node))
        if isinstance(node.ctx, ast.Load):
            node.value = _placed(_call("_spread_", node.value), node.value)
        return node

    def visit_FormattedValue(self, node: ast.FormattedValue) -> Any:
        if node.format_spec is not None:
            parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else []
            if not all(
                isinstance(part, ast.Constant) and not _WIDE.search(str(part.value)) for part in parts
            ):
                self.error(node, "Format widths must be short and written out.")
        return super().visit_FormattedValue(node)
