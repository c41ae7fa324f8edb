"""Built-ins for `mock` whose results cannot grow past a bound, and the step budget.

What is bounded raises MemoryError, as a program would see from a real limit. Not all that can grow is bounded
(comparing a list that holds itself many times over, for one): this keeps honest and clumsy programs in check,
not hostile ones.
"""

from __future__ import annotations

import collections
import math
import operator
import re
import string
import time
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from RestrictedPython import Guards

MAX_SIZE = 100_000  # elements or characters
MAX_BITS = 100_000
MAX_FACTORIAL = 2000
_CLOCK_EVERY = 64  # steps; a power of two
_WIDE_FORMAT = re.compile(rb"\d{4}|\*")
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    **{"+": operator.add, "*": operator.mul, "**": operator.pow, "<<": operator.lshift, "%": operator.mod},
    **{"-": operator.sub, "/": operator.truediv, "//": operator.floordiv, ">>": operator.rshift},
    **{"&": operator.and_, "|": operator.or_, "^": operator.xor, "@": operator.matmul},
}
_INPLACE: dict[str, Callable[[Any, Any], Any]] = {
    **{
        "+": operator.iadd,
        "*": operator.imul,
        "**": operator.ipow,
        "<<": operator.ilshift,
        "%": operator.imod,
    },
    **{"-": operator.isub, "/": operator.itruediv, "//": operator.ifloordiv, ">>": operator.irshift},
    **{"&": operator.iand, "|": operator.ior, "^": operator.ixor, "@": operator.imatmul},
}
_SEQUENCES = (str, bytes, list, tuple)


class OutOfSteps(BaseException):
    """The budget is spent. Not an Exception, so that `except Exception` does not swallow it."""


class Budget:
    """Steps left, and a clock as a backstop for steps that take long. Steps do not depend on the machine."""

    def __init__(self, steps: int, seconds: float):
        self._left = steps
        self._until = time.monotonic() + seconds

    def tick(self) -> None:
        """Spend one step. Raises OutOfSteps, now and at every later call."""
        self._left -= 1
        if self._left < 0 or (self._left % _CLOCK_EVERY == 0 and time.monotonic() > self._until):
            self._left = 0
            raise OutOfSteps

    def iterate(self, items: Iterable[Any]) -> Iterator[Any]:
        """`items`, a step each."""
        for item in items:
            self.tick()
            yield item


def _check(size: int, limit: int = MAX_SIZE) -> None:
    if size > limit:
        raise MemoryError


def _check_operands(symbol: str, left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if symbol == "*":
            _check(left.bit_length() + right.bit_length(), MAX_BITS)
        elif symbol == "**" and right > 0:
            _check(left.bit_length() * right, MAX_BITS)
        elif symbol == "<<" and right > 0:
            _check(left.bit_length() + right, MAX_BITS)
    elif symbol == "+" and isinstance(left, _SEQUENCES) and isinstance(right, _SEQUENCES):
        _check(len(left) + len(right))
    elif symbol == "*":
        for sequence, times in ((left, right), (right, left)):
            if isinstance(sequence, _SEQUENCES) and isinstance(times, int):
                _check(len(sequence) * times)
    elif symbol == "%" and isinstance(left, (str, bytes)):
        text = left.encode("utf-8", "surrogatepass") if isinstance(left, str) else left
        if _WIDE_FORMAT.search(text):
            raise MemoryError


def binop(symbol: str, left: Any, right: Any) -> Any:
    """`left symbol right`."""
    _check_operands(symbol, left, right)
    return _OPERATORS[symbol](left, right)


def inplace(symbol: str, left: Any, right: Any) -> Any:
    """`left symbol right` for `symbol` such as `+=`."""
    _check_operands(symbol[:-1], left, right)
    return _INPLACE[symbol[:-1]](left, right)


def augitem(symbol: str, target: Any, key: Any, value: Any) -> None:
    """`target[key] symbol value`."""
    target[key] = inplace(symbol, target[key], value)


def spread(items: Iterable[Any]) -> list[Any]:
    """`*items` in a display or a call."""
    found = list(items)
    _check(len(found), MAX_SIZE // 10)
    return found


def bounded_range(*arguments: int) -> range:
    """`range`, not longer than MAX_SIZE."""
    found = range(*arguments)
    _check(
        found.stop - found.start if found.step > 0 else found.start - found.stop, MAX_SIZE * abs(found.step)
    )
    return found


def bounded_pow(base: Any, exponent: Any, modulus: Any = None) -> Any:
    """`pow`."""
    return binop("**", base, exponent) if modulus is None else pow(base, exponent, modulus)


def type_of(value: Any) -> type:
    """`type` with one argument; with three it would make classes that no check has seen."""
    return type(value)


def _padded(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(size: int = 8, *arguments: Any) -> Any:
        _check(size)
        return method(size, *arguments)

    return call


def _expanded(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(tabsize: int = 8) -> Any:
        _check(tabsize, 100)
        return method(tabsize)

    return call


def _joined(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(parts: Iterable[Any]) -> Any:
        found = list(parts)
        _check(sum(len(part) for part in found if isinstance(part, (str, bytes))))
        _check(len(method.__self__) * len(found))  # type: ignore[attr-defined]
        return method(found)

    return call


def _replaced(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(old: Any, new: Any, *count: Any) -> Any:
        text = method.__self__  # type: ignore[attr-defined]
        _check(len(text) + text.count(old) * len(new))
        return method(old, new, *count)

    return call


def _translated(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(table: Any) -> Any:
        values = table.values() if isinstance(table, dict) else ()
        longest = max((len(value) for value in values if isinstance(value, str)), default=1)
        _check(len(method.__self__) * longest)  # type: ignore[attr-defined]
        return method(table)

    return call


def _extended(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(items: Iterable[Any]) -> None:
        found = list(items)
        _check(len(method.__self__) + len(found))  # type: ignore[attr-defined]
        method(found)

    return call


_WRAPPED: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    **dict.fromkeys(("ljust", "rjust", "center", "zfill", "to_bytes"), _padded),
    **{"expandtabs": _expanded, "join": _joined, "replace": _replaced, "translate": _translated},
    **dict.fromkeys(("extend", "extendleft"), _extended),
}
_REFUSED = ("elements", "format", "format_map")
_BUILT_IN = (str, bytes, int, list, collections.deque, collections.Counter)


def bounded_getattr(value: Any, name: str, *default: Any) -> Any:
    """`getattr` under RestrictedPython's rules, with the methods that can grow a value wrapped or refused."""
    if isinstance(value, _BUILT_IN):
        if name in _REFUSED:
            raise NotImplementedError(name)
        if name in _WRAPPED:
            return _WRAPPED[name](Guards.safer_getattr(value, name, *default))
    elif isinstance(value, type) and issubclass(value, _BUILT_IN) and name in (*_REFUSED, *_WRAPPED):
        raise NotImplementedError(name)
    return Guards.safer_getattr(value, name, *default)


class _ListWriter:
    """What `target[key] = value` and `del target[key]` act on, so that a slice cannot grow past the bound."""

    __slots__ = ("_target",)

    def __init__(self, target: list[Any]):
        self._target = target

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, slice):
            value = list(value)
            _check(len(self._target) + len(value))
        self._target[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._target[key]


def writable(target: Any) -> Any:
    """The object to write through."""
    return _ListWriter(target) if isinstance(target, list) else target


def _small(function: Callable[..., int]) -> Callable[..., int]:
    def call(*arguments: int) -> int:
        _check(max((abs(a) for a in arguments if isinstance(a, int)), default=0), MAX_FACTORIAL)
        return function(*arguments)

    return call


class _Typing:
    """Stands for `typing`, whose names only annotations use."""

    def __getattr__(self, name: str) -> object:
        return object


_MODULES = {
    "math": SimpleNamespace(
        **{name: value for name, value in vars(math).items() if name[0] != "_"}
        | {name: _small(getattr(math, name)) for name in ("factorial", "comb", "perm")}
    ),
    "string": SimpleNamespace(**{name: value for name, value in vars(string).items() if type(value) is str}),
    "collections": SimpleNamespace(
        Counter=collections.Counter,
        OrderedDict=collections.OrderedDict,
        defaultdict=collections.defaultdict,
        deque=collections.deque,
    ),
    "typing": _Typing(),
}


def bounded_import(name: str, *scope: Any) -> Any:
    """`import` of the few modules there are."""
    if name not in _MODULES:
        raise ModuleNotFoundError(name)
    return _MODULES[name]
