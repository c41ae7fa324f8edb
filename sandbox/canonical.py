"""Write a value as literal text, or say why it has none.

Only exact built-in types count: a subclass could lie about itself. One text a value: sets are sorted by the
text of their elements, dicts keep their order, floats and strings are what `repr` gives. Size is bounded
before text is built, so a list that holds itself twice sixty times over costs no more than the bound.
"""

import math

MAX_DEPTH = 60
_BRACKETS = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), frozenset: ("frozenset({", "})")}
_EMPTY = {list: ("[", "]"), tuple: ("(", ")"), set: ("set(", ")"), frozenset: ("frozenset(", ")")}
MAX_INT_BITS = 14_000  # below CPython's own bound of 4,300 decimal digits on int -> str


class NotLiteral(Exception):
    """The value, or something inside it, has no literal text (a function, a subclass, nan, infinity)."""


class TooLarge(Exception):
    """The text would pass the bound on characters or depth."""


def canonical(value, max_chars):
    """Literal text of `value`, at most `max_chars` long. Raises NotLiteral or TooLarge."""
    return _Writer(max_chars).text(value, 0)


class _Writer:
    def __init__(self, max_chars):
        self.left = max_chars

    def spend(self, chars):
        self.left -= chars
        if self.left < 0:
            raise TooLarge

    def text(self, value, depth):
        if depth > MAX_DEPTH:
            raise TooLarge
        kind = type(value)
        if kind in (list, tuple, set, frozenset):
            return self.sequence(kind, value, depth)
        if kind is dict:
            self.spend(2)
            items = []
            for key, item in value.items():
                self.spend(2)
                items.append(f"{self.text(key, depth + 1)}: {self.text(item, depth + 1)}")
            self.spend(2 * max(len(items) - 1, 0))
            return "{" + ", ".join(items) + "}"
        return self.atom(kind, value)

    def sequence(self, kind, value, depth):
        before, after = _BRACKETS[kind] if value else _EMPTY[kind]
        if kind is tuple and len(value) == 1:
            after = ",)"
        self.spend(len(before) + len(after) + 2 * max(len(value) - 1, 0))
        items = [self.text(item, depth + 1) for item in value]
        if kind is set or kind is frozenset:
            items.sort()
        return before + ", ".join(items) + after

    def atom(self, kind, value):
        if kind is str or kind is bytes:
            self.spend(len(value))
        elif kind is int:
            if value.bit_length() > MAX_INT_BITS:
                raise TooLarge
        elif kind is float:
            if not math.isfinite(value):
                raise NotLiteral
        elif kind is complex:
            if not (math.isfinite(value.real) and math.isfinite(value.imag)):
                raise NotLiteral
        elif value is not None and kind is not bool:
            raise NotLiteral
        text = repr(value)
        self.spend(len(text) - (len(value) if kind is str or kind is bytes else 0))
        return text
