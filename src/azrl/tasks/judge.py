"""Compares answers as text: a bounded literal grammar, read here and never evaluated.

The grammar is Python's own for None, True, False, numbers (`-1`, `1e3`, `0x1f`, `1+2j`), strings, bytes,
tuples, lists, dicts, sets and the calls `set()`, `set([...])` and `frozenset(...)`. Adjacent strings join.
Comments are space. All else is `NotLiteral`: names, other calls, f-strings, operators, `...`, nan and inf.

What equals what is Python's `==` on the values, as in Absolute Zero (arXiv 2505.03335): `1 == 1.0 == True`,
`-0.0 == 0.0`, sets and dicts without order, `[1] != (1,)`, `'a' != b'a'`, no tolerance on floats.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Any

from azrl.tasks.literal import NotLiteral, Reader

__all__ = ["NotLiteral", "arguments", "call", "canonical", "equal", "literal", "render", "render_call"]

MAX_CHARS = 8192
_SIMPLE = re.compile(r"-?[1-9][0-9]{0,17}|0|'[ !#-&(-\[\]-~]*'|True|False|None")


def canonical(text: str, *, max_chars: int = MAX_CHARS) -> str:
    """The one text of a literal's value: `canonical("[ 1,2 ]") == "[1, 2]"`; raises NotLiteral.

    It is `repr`, but for sets, whose elements are sorted, so it does not depend on a hash seed. Neither
    `text` nor the result is longer than `max_chars`. Idempotent. Dicts keep their order.
    """
    if len(text) <= max_chars and _SIMPLE.fullmatch(text):
        return text
    return _bounded(render(literal(text, max_chars=max_chars)), max_chars)


def equal(a: str, b: str) -> bool:
    """Whether two texts are literals of equal value. What is no literal equals nothing, not even itself."""
    try:
        left = literal(a)
        return bool(left == literal(b))
    except NotLiteral:
        return False


def arguments(text: str, *, max_chars: int = MAX_CHARS) -> str:
    """Canonical call-argument text: `arguments("[1,2],'a', n = 3") == "[1, 2], 'a', n=3"`; raises NotLiteral.

    Literal positional arguments, then literal keyword arguments in the order given; no stars, no repeated
    keyword. The empty text is a call without arguments. `(1, 2)` is one tuple, `1, 2` two integers.
    """
    return _bounded(render_call(*call(text, max_chars=max_chars)), max_chars)


def literal(text: str, *, max_chars: int = MAX_CHARS) -> Any:
    """The value of a literal, built from nothing but built-in types; raises NotLiteral."""
    reader = Reader(text, max_chars)
    value = reader.value()
    if reader.op == ",":  # an unparenthesised tuple, as in `1, 2`
        reader.advance()
        value = (value, *reader.items("", lambda: reader.value()))
    reader.finish()
    return value


def call(text: str, *, max_chars: int = MAX_CHARS) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword values of call-argument text; raises NotLiteral."""
    reader = Reader(text, max_chars, in_call=True)
    keywords: dict[str, Any] = {}

    def argument() -> Any:
        name = reader.keyword()
        if (name is None and keywords) or name in keywords:
            raise NotLiteral("syntax")
        value = reader.value()
        if name is not None:
            keywords[name] = value
        return value

    values = reader.items("", argument)
    reader.finish()
    return tuple(values[: len(values) - len(keywords)]), keywords


def render(value: Any) -> str:
    """Canonical text of a literal value; raises NotLiteral on any other object, nan and inf included."""
    kind = type(value)
    if kind is str or value is None or kind is bool or kind is bytes:
        return repr(value)
    if kind is int:
        try:
            return repr(value)
        except ValueError:
            raise NotLiteral("digits") from None
    if kind is float or kind is complex:
        if not (isfinite(value.real) and isfinite(value.imag)):
            raise NotLiteral("infinite")
        return repr(value)
    if kind is list:
        return "[" + ", ".join(map(render, value)) + "]"
    if kind is tuple:
        return f"({render(value[0])},)" if len(value) == 1 else "(" + ", ".join(map(render, value)) + ")"
    if kind is dict:
        return "{" + ", ".join(f"{render(k)}: {render(v)}" for k, v in value.items()) + "}"
    if kind is set:
        return "{" + ", ".join(_ordered(value)) + "}" if value else "set()"
    if kind is frozenset:
        return "frozenset({" + ", ".join(_ordered(value)) + "})" if value else "frozenset()"
    raise NotLiteral("name")


def render_call(values: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    """Canonical call-argument text of values; raises NotLiteral as `render` does."""
    return ", ".join([*map(render, values), *(f"{name}={render(value)}" for name, value in keywords.items())])


def _ordered(elements: set[Any] | frozenset[Any]) -> list[str]:
    """Rendered elements in an order that no hash seed can change: by value where all are real numbers or all
    are strings, else by text."""
    kinds = set(map(type, elements))
    if kinds <= {int, float, bool} or kinds == {str}:
        return [render(e) for e in sorted(elements)]
    return sorted(map(render, elements))


def _bounded(text: str, max_chars: int) -> str:
    if len(text) > max_chars:
        raise NotLiteral("too_long")
    return text
