"""What a program may not say, by its syntax tree alone.

This keeps tasks deterministic, self-contained and worth reading. It is not security: whoever wants to get
around it can (`getattr` with a computed name), and the sandbox is what holds then.
"""

from __future__ import annotations

import ast
from collections.abc import Collection

from azrl.tasks.normalise import Syntax, bound_names, syntax

FORBIDDEN_NAMES = frozenset({
    "__import__", "breakpoint", "compile", "delattr", "eval", "exec", "exit", "globals", "hash", "help",
    "id", "input", "locals", "open", "print", "quit", "setattr", "vars",
})  # fmt: skip
"""Builtins that read the world, depend on the process or run text; allowed where the program rebinds them."""
ALLOWED_DUNDERS = frozenset({
    "__add__", "__contains__", "__doc__", "__getitem__", "__init__", "__iter__", "__len__", "__name__",
    "__next__", "__setitem__",
})  # fmt: skip

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_CHECKED = frozenset({
    ast.Attribute, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.comprehension,
    ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await,
})  # fmt: skip
_TOP_LEVEL = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


def check(program: str, forbidden_modules: Collection[str]) -> str | None:
    """None, or a refusal as `code` or `code:what`; raises normalise.Unparsable.

    | code | meaning |
    |---|---|
    | no_f, several_f | the module must define `f` once, as a plain function |
    | no_parameters | `f` takes nothing, so there is no input to reason about |
    | async | async functions, loops, with-blocks or comprehensions, and await |
    | yield | `f` is a generator, whose result is no literal |
    | state | global or nonlocal, or an attribute set on an imported module or name |
    | top_level | a module-level statement other than imports, definitions and assignments |
    | import:NAME | a forbidden module (or one inside it), `from . import`, `import *` |
    | name:NAME | one of FORBIDDEN_NAMES, not rebound by the program, or a dunder name |
    | attribute:NAME | a dunder attribute outside ALLOWED_DUNDERS |
    """
    read = syntax(program)
    return _entry(read.module) or _nodes(read, frozenset(forbidden_modules))


def _entry(tree: ast.Module) -> str | None:
    entries = [node for node in tree.body if isinstance(node, _FUNCTIONS) and node.name == "f"]
    if not entries:
        return "no_f"
    assigned = (node.targets for node in tree.body if isinstance(node, ast.Assign))
    if len(entries) > 1 or any(isinstance(t, ast.Name) and t.id == "f" for ts in assigned for t in ts):
        return "several_f"
    given = entries[0].args
    if not (given.posonlyargs or given.args or given.vararg or given.kwonlyargs or given.kwarg):
        return "no_parameters"
    if _yields(entries[0]):
        return "yield"
    for node in tree.body:
        constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not constant and not isinstance(node, (*_TOP_LEVEL, ast.AsyncFunctionDef)):
            return "top_level"
    return None


def _yields(function: ast.AST) -> bool:
    """Whether the function itself, not one inside it, yields."""
    todo = list(ast.iter_child_nodes(function))
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, (*_FUNCTIONS, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))
    return False


def _nodes(read: Syntax, forbidden: frozenset[str]) -> str | None:
    suspects: dict[str, None] = {}
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in read.nodes
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    for node in read.nodes:
        if type(node) is ast.Name:
            if node.id in FORBIDDEN_NAMES or _dunder(node.id):
                suspects[node.id] = None
            continue
        if type(node) not in _CHECKED:
            continue
        match node:
            case ast.Attribute(attr=name) if _dunder(name):
                return f"attribute:{name}"
            # Inputs are run in fresh namespaces, but the modules of one process are shared between them.
            case ast.Attribute(ctx=ast.Store() | ast.Del()) if _root(node) in imported:
                return "state"
            case ast.Import(names=names):
                for alias in names:
                    if refused := _forbidden(alias.name, forbidden):
                        return refused
            case ast.ImportFrom(module=module, names=names, level=level):
                if level or any(alias.name == "*" for alias in names):
                    return f"import:{'.' * level}{module or ''}"
                for alias in names:
                    if refused := _forbidden(f"{module}.{alias.name}", forbidden):
                        return refused
            case ast.Global() | ast.Nonlocal():
                return "state"
            case ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith() | ast.Await():
                return "async"
            case ast.comprehension(is_async=1):
                return "async"
    bound = bound_names(read.nodes) if suspects else set()
    return next((f"name:{name}" for name in suspects if name not in bound), None)


def _root(node: ast.AST) -> str | None:
    """`a` of `a.b.c`, `a[0].b` and `a().b`."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in ALLOWED_DUNDERS


def _forbidden(module: str, forbidden: frozenset[str]) -> str | None:
    """`a.b.c` is forbidden where `a`, `a.b` or `a.b.c` is."""
    parts = module.split(".")
    prefixes = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return next((f"import:{prefix}" for prefix in prefixes if prefix in forbidden), None)
