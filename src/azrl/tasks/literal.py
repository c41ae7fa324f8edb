"""Reads Python literals from text without the compiler: the grammar that `azrl.tasks.judge` describes.

One pass over regular tokens without backtracking, so time is linear in the text and no input reaches the
compiler, its warnings, its recursion limit or its limit on the digits of an integer.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from math import isfinite
from typing import Any

MAX_DEPTH = 64
MAX_DIGITS = 4300  # CPython's own default for int <-> str
MAX_BITS = 14284  # the widest integers that all print in MAX_DIGITS digits
MAX_TOKENS = 16384


class NotLiteral(ValueError):
    """The text is not a bounded literal. `reason` is a short code: `too_long`, `too_deep`, `too_many`,
    `digits`, `infinite`, `escape`, `character`, `unhashable`, `name` or `syntax`."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


# No possessive quantifiers: Python 3.11.0 to 3.11.4 match some of them wrongly. Every text has one way to match at
# most, so there is nothing to go back to.
_DIGITS = r"[0-9](?:_?[0-9])*"
_TOKEN = re.compile(
    rf"""
    (?P<gap>(?:[ \t\f\n]|\#[^\n]*)*)
    (?:(?P<number>0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+
        |(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?[jJ]?)
    |(?P<string>(?:[bB][rR]?|[rR][bB]?|[uU])?
        (?:'''(?:[^'\\]|\\.|'(?!''))*'''|\"\"\"(?:[^"\\]|\\.|"(?!""))*\"\"\"
        |''(?!')|""(?!")|'(?!')(?:[^'\\\n]|\\.)+'|"(?!")(?:[^"\\\n]|\\.)+"))
    |(?P<op>[][(){{}},:+=-])
    |(?P<name>[A-Za-z_][A-Za-z_0-9]*)
    |\Z
    |(?P<bad>.))
    """,
    re.VERBOSE | re.DOTALL,
)
_STRING = re.compile(r"""([a-zA-Z]*)('''|\"\"\"|'|")""")
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_BYTES_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|()()(.))", re.DOTALL)
_PLAIN = {
    **{"\\": "\\", "'": "'", '"': '"', "\n": "", "a": "\a", "b": "\b"},
    **{"f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"},
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_CLOSE = {"(": ")", "[": "]", "{": "}"}
_CONSTANTS = {"None": None, "True": True, "False": False}


class Reader:
    """Recursive descent over tokens; depth is bounded by MAX_DEPTH before the first value is read."""

    def __init__(self, text: str, max_chars: int, *, in_call: bool = False):
        """`in_call`: the text stands between a call's parentheses, where lines may break anywhere."""
        if len(text) > max_chars:
            raise NotLiteral("too_long")
        if _SURROGATE.search(text):
            raise NotLiteral("character")
        text = text.replace("\r\n", "\n").replace("\r", "\n").strip(" \t\f\n")
        self.tokens = _tokens(text)
        self._check_lexical(1 if in_call else 0)
        self.at = -1
        self.advance()

    def _check_lexical(self, depth: int) -> None:
        """Refuse deep nesting, too many digits and, at depth 0, line breaks."""
        for gap, number, _, op, _ in self.tokens:
            if depth == 0 and "\n" in gap:
                raise NotLiteral("syntax")
            if len(number) > MAX_DIGITS:
                raise NotLiteral("digits")
            if op and op in "([{":
                depth += 1
                if depth > MAX_DEPTH:
                    raise NotLiteral("too_deep")
            elif op and op in ")]}":
                depth -= 1

    def advance(self) -> None:
        self.at += 1
        _, self.number, self.string, self.op, self.name = self.tokens[self.at]

    def finish(self) -> None:
        if self.at != len(self.tokens) - 1:
            raise NotLiteral("syntax")

    def keyword(self) -> str | None:
        """Consume `name=` where an argument may start with it."""
        if not self.name or self.tokens[self.at + 1][3] != "=":
            return None
        name = self.name
        if keyword.iskeyword(name):
            raise NotLiteral("syntax")
        self.advance()
        self.advance()
        return name

    def value(self) -> Any:
        if self.number:
            return self._number()
        if self.string:
            return self._string()
        if self.name:
            return self._named()
        op = self.op
        if op in ("+", "-"):
            return self._number()
        if op not in _CLOSE:
            raise NotLiteral("syntax")
        self.advance()
        if op == "[":
            return self.items("]", self.value)
        return self._parenthesised() if op == "(" else self._braced()

    def items(self, close: str, item: Callable[[], Any]) -> list[Any]:
        """Items between commas up to and over `close` ("": the end of the text); the last comma may trail."""
        found = []
        while not self._closes(close):
            found.append(item())
            if self.op == ",":
                self.advance()
            elif not self._closes(close):
                raise NotLiteral("syntax")
        if close:
            self.advance()
        return found

    def _closes(self, close: str) -> bool:
        return self.op == close if close else self.at == len(self.tokens) - 1

    def _parenthesised(self) -> Any:
        comma = False

        def item() -> Any:
            nonlocal comma
            value = self.value()
            comma = comma or self.op == ","
            return value

        values = self.items(")", item)
        return tuple(values) if comma or not values else values[0]

    def _braced(self) -> Any:
        pairs = 0

        def item() -> Any:
            nonlocal pairs
            key = self.value()
            if self.op != ":":
                return key
            pairs += 1
            self.advance()
            return key, self.value()

        items = self.items("}", item)
        if 0 < pairs < len(items):
            raise NotLiteral("syntax")
        return _hashed(dict if pairs or not items else set, items)

    def _named(self) -> Any:
        name = self.name
        self.advance()
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name not in ("set", "frozenset") or self.op != "(":
            raise NotLiteral("name")
        self.advance()
        values = self.items(")", self.value)
        if len(values) > 1 or (values and type(values[0]) not in (list, tuple, set, frozenset)):
            raise NotLiteral("syntax")
        return _hashed(set if name == "set" else frozenset, values[0] if values else ())

    def _number(self) -> int | float | complex:
        """A signed number, or a signed real number followed by a signed imaginary one."""
        first = self._signed(self._sign())
        if self.op not in ("+", "-") or isinstance(first, complex):
            return first
        second = self._signed(self._sign())
        if not isinstance(second, complex):
            raise NotLiteral("syntax")
        return complex(first, second.imag)

    def _sign(self) -> str:
        sign = self.op
        if sign in ("+", "-"):
            self.advance()
            return sign
        return ""

    def _signed(self, sign: str) -> int | float | complex:
        text = self.number
        if not text:
            raise NotLiteral("syntax")
        self.advance()
        value = _unsigned(text)
        if sign != "-":
            return value
        if isinstance(value, complex):
            return complex(0.0, -value.imag)  # as written: `-value` would give a real part of -0.0
        # `(-0-1j)` is how Python prints a real part of -0.0
        return -0.0 if value == 0 and self.op in ("+", "-") else -value

    def _string(self) -> str | bytes:
        parts = [_decode(self.string)]
        self.advance()
        while self.string:
            parts.append(_decode(self.string))
            self.advance()
        if len({type(part) for part in parts}) > 1:
            raise NotLiteral("syntax")
        return parts[0][:0].join(parts)  # type: ignore[arg-type]


def _tokens(text: str) -> list[tuple[str, ...]]:
    """(gap, number, string, op, name) of each token and of the end. The first strange character ends the search: after
    a string that is never closed, every further quote would read the rest of the text again."""
    tokens = []
    for found in _TOKEN.finditer(text):
        *token, bad = found.groups("")
        if bad:
            raise NotLiteral("character")
        tokens.append(tuple(token))
        if len(tokens) > MAX_TOKENS:
            raise NotLiteral("too_many")
        if not any(token[1:]):
            break
    return tokens


def _hashed(kind: Any, items: Any) -> Any:
    try:
        return kind(items)
    except TypeError:
        raise NotLiteral("unhashable") from None


def _unsigned(text: str) -> int | float | complex:
    if text[:2] in ("0x", "0X", "0o", "0O", "0b", "0B"):
        based = int(text, 0)
        if based.bit_length() > MAX_BITS:
            raise NotLiteral("digits")
        return based
    if text[-1] in "jJ":
        imaginary = float(text[:-1])
        if not isfinite(imaginary):
            raise NotLiteral("infinite")
        return complex(0.0, imaginary)
    if "." in text or "e" in text or "E" in text:
        real = float(text)
        if not isfinite(real):
            raise NotLiteral("infinite")
        return real
    if text[0] == "0" and text.strip("0_"):
        raise NotLiteral("syntax")  # 007
    return int(text)


def _decode(token: str) -> str | bytes:
    match = _STRING.match(token)
    assert match is not None  # the token is a string by its own pattern
    prefix, quote = match[1].lower(), match[2]
    body = token[match.end() : -len(quote)]
    binary = "b" in prefix
    if "\0" in body or (binary and not body.isascii()):
        raise NotLiteral("character")
    if "\\" in body and "r" not in prefix:
        body = (_BYTES_ESCAPE if binary else _ESCAPE).sub(_bytes_unescape if binary else _unescape, body)
    return body.encode("latin-1") if binary else body


def _unescape(match: re.Match[str]) -> str:
    octal, x, u, wide, other = match.groups()
    if other is not None:
        if other in "xuUN":  # cut short, or a character's name
            raise NotLiteral("escape")
        return _PLAIN.get(other, match[0])  # Python keeps an unknown escape as it stands
    code = int(octal, 8) if octal else int(x or u or wide, 16)
    if code > 0x10FFFF:
        raise NotLiteral("escape")
    return chr(code)


def _bytes_unescape(match: re.Match[str]) -> str:
    octal, x, _, _, other = match.groups()
    if other is not None:
        if other == "x":
            raise NotLiteral("escape")
        return _PLAIN.get(other, match[0])
    return chr((int(octal, 8) if octal else int(x, 16)) & 0xFF)
