"""One text for all programs that differ only in names, annotations, comments and layout.

Two programs with equal `program_key` are the same program: held-out probes stay disjoint by it, and
duplicates are found by it. Programs are parsed, never compiled to code and never run.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

MAX_CHARS = 32768
_FILE = "<program>"
# Parsing a foreign text such as '\d' warns about that text, which is nothing to tell our users.
warnings.filterwarnings("ignore", module=_FILE)

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BINDING: dict[type[ast.AST], str] = {
    **{ast.arg: "arg", ast.alias: "asname", ast.ExceptHandler: "name", ast.MatchAs: "name"},
    **{ast.FunctionDef: "name", ast.AsyncFunctionDef: "name", ast.ClassDef: "name"},
    **{ast.MatchStar: "name", ast.MatchMapping: "rest"},
}
"""Nodes that bind a name, besides stored names, and the field that holds it."""
_BLOCKS: dict[type[ast.AST], tuple[str, ...]] = {
    **dict.fromkeys((ast.If, ast.For, ast.AsyncFor, ast.While), ("body", "orelse")),
    **dict.fromkeys((ast.Try, ast.TryStar), ("body", "orelse", "finalbody")),
    **dict.fromkeys((ast.Module, *_FUNCTIONS, ast.ClassDef, ast.With, ast.AsyncWith), ("body",)),
    **dict.fromkeys((ast.ExceptHandler, ast.match_case), ("body",)),
}
"""Nodes that hold blocks of statements, and the fields that hold them."""


class Unparsable(ValueError):
    """The text is not a program. `reason` is a short code: `too_long`, `syntax`, `too_deep`, `digits`
    (an integer that cannot be printed) or `no_f`."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def parse(program: str) -> ast.Module:
    """The syntax tree; raises Unparsable for whatever the parser refuses."""
    if len(program) > MAX_CHARS:
        raise Unparsable("too_long")
    try:
        return ast.parse(program, _FILE)
    except (SyntaxError, ValueError):  # ValueError: NUL or a lone surrogate
        raise Unparsable("syntax") from None
    except (RecursionError, MemoryError):
        raise Unparsable("too_deep") from None


class Syntax(NamedTuple):
    """A program's tree, with all its nodes by levels."""

    module: ast.Module
    nodes: tuple[ast.AST, ...]


@lru_cache(maxsize=256)
def syntax(program: str) -> Syntax:
    """For reading alone: all who look at a program share it. Raises Unparsable."""
    module = parse(program)
    return Syntax(module, tuple(ast.walk(module)))


def normalise(program: str) -> str:
    """AST-normalised source; raises Unparsable.

    Comments, docstrings, other bare constants and annotations are gone; layout and quotes are Python's own.
    Every name that the program binds (variables, arguments, inner functions, import aliases) is v0, v1, ...
    in order of appearance, one name for one name in all scopes; free names (builtins, modules) stay. The
    entry is `f`: the function of that name, else the only top-level one. Idempotent.
    """
    tree = parse(program)
    try:
        _strip(tree)
        _rename(tree)
        return _write(tree)
    except RecursionError:
        raise Unparsable("too_deep") from None


@lru_cache(maxsize=1 << 14)
def program_key(program: str) -> str:
    """16 hex digits of the normalised text; raises Unparsable."""
    return hashlib.sha256(normalise(program).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def statements(program: str) -> int:
    """Top-level statements in the body of `f`; what does nothing (a docstring, a bare name) is not counted. Raises
    Unparsable (`no_f` too)."""
    functions = [n for n in syntax(program).module.body if isinstance(n, _FUNCTIONS) and n.name == "f"]
    if not functions:
        raise Unparsable("no_f")
    return sum(not _inert(statement) and not _idle(statement) for statement in functions[-1].body)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Every node in source order, parents first (`ast.walk` goes by levels)."""
    todo = [node]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed(list(ast.iter_child_nodes(node))))


def bound_names(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that a program with these nodes binds itself, imported modules' own names excepted."""
    bound: set[str] = set()
    for node in nodes:
        kind = type(node)
        if kind is ast.Name:
            if type(node.ctx) is not ast.Load:  # type: ignore[attr-defined]
                bound.add(node.id)  # type: ignore[attr-defined]
        elif kind in _BINDING:
            name = getattr(node, _BINDING[kind])
            if name is not None:
                bound.add(name)
    return bound


def _rename(tree: ast.Module) -> None:
    nodes = list(walk(tree))
    bound = bound_names(nodes)
    functions = {node.name for node in nodes if isinstance(node, _FUNCTIONS)}
    top = [node.name for node in tree.body if isinstance(node, _FUNCTIONS)]
    entry = "f" if "f" in top or len(top) != 1 else top[0]
    names: dict[str, str] = {entry: "f"}

    def new(name: str) -> str:
        if name not in bound:
            return name
        if name not in names:
            names[name] = f"v{len(names) - 1}"
        return names[name]

    for node in nodes:
        kind = type(node)
        if kind is ast.Name:
            node.id = new(node.id)  # type: ignore[attr-defined]
        elif kind in _BINDING:
            field = _BINDING[kind]
            if getattr(node, field) is not None:
                setattr(node, field, new(getattr(node, field)))
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            node.names = [new(name) for name in node.names]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            for argument in node.keywords:
                argument.arg = argument.arg and new(argument.arg)


def _strip(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        for field in _BLOCKS.get(type(node), ()):
            block = getattr(node, field)
            if block:
                kept = [_plain(statement) for statement in block if not _inert(statement)]
                setattr(node, field, kept or [ast.Pass()])


def _plain(statement: ast.stmt) -> ast.stmt:
    """An annotated assignment without its annotation."""
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return ast.Assign([statement.target], statement.value, lineno=statement.lineno)
    return statement


def _inert(statement: ast.stmt) -> bool:
    """A docstring, another bare constant, or a declaration without a value."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.AnnAssign) and statement.value is None


def _idle(statement: ast.stmt) -> bool:
    """A bare name: it would let a program pass for a longer one."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Name)


def _write(tree: ast.Module) -> str:
    try:
        return ast.unparse(tree)
    except ValueError:
        pass  # an f-string that Python 3.11 cannot quote; its dump serves as well
    try:
        return ast.dump(tree)
    except ValueError:
        raise Unparsable("digits") from None
