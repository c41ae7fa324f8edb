"""Inputs of the same types as a given one, made by rule: they show whether a program looks at its input.

The changes are small on purpose: a program that is slow in its input's size must not be run on a large one.
"""

from __future__ import annotations

from typing import Any

from azrl.tasks.judge import NotLiteral, call, render, render_call

MOVES = ("shift", "shrink", "grow", "empty")


def mutations(arguments: str) -> tuple[str, ...]:
    """Up to four distinct call-argument texts unlike `arguments`, in the order of MOVES; a function of the
    text alone. `shift` changes every leaf and keeps all shapes, `shrink` reverses sequences and drops an
    element, `grow` adds one, `empty` takes all. Raises NotLiteral if `arguments` are no literals."""
    values, keywords = call(arguments)
    found: dict[str, None] = {}
    for move in MOVES:
        moved = tuple(_move(value, move) for value in values)
        try:
            text = render_call(moved, {name: _move(value, move) for name, value in keywords.items()})
        except NotLiteral:  # too large a number after the change
            continue
        if text != arguments:
            found[text] = None
    return tuple(found)


def _move(value: Any, move: str) -> Any:
    kind = type(value)
    if kind is bool:
        return not value if move in ("shift", "empty") else value
    if kind is int or kind is float:
        return _number(value, move)
    if kind is complex:
        return value + (1 if move == "shift" else 1j)
    if kind is str:
        return "".join(_sequence(list(value), move, _next_character))
    if kind is bytes:
        return bytes(_sequence(list(value), move, lambda byte: (byte + 1) % 256))
    if kind is list or kind is tuple:
        return kind(_sequence(list(value), move, lambda item: _move(item, "shift")))
    if kind is set or kind is frozenset:
        return kind(_sequence(sorted(value, key=render), move, lambda item: _move(item, "shift")))
    if kind is dict:
        return dict(_sequence(list(value.items()), move, lambda item: (item[0], _move(item[1], "shift"))))
    return value


def _number(value: Any, move: str) -> Any:
    """Another number, never 0 by rule: loops that halve or count down to 1 may not end there."""
    if move == "shrink":
        return value // 2 if value > 3 else value + 2
    if move == "empty":
        return value // 10 if value > 9 else value + 5
    return value + (1 if move == "shift" else 3)


def _sequence(items: list[Any], move: str, change: Any) -> list[Any]:
    if move == "shift":
        return [change(item) for item in items]
    if move == "shrink":
        return items[::-1][:-1]
    if move == "grow":
        return [*items, change(items[-1])] if items else items
    return []


def _next_character(character: str) -> str:
    """The next letter or digit, cyclic in its alphabet; any other character stays."""
    for alphabet in ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"):
        if character in alphabet:
            return alphabet[(alphabet.index(character) + 1) % len(alphabet)]
    return character
