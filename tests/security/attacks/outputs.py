"""Hostile results: values that lie about themselves, and values too large to write down."""

from __future__ import annotations

from attacks.model import Attack, plain

C = "hostile outputs"


def _lies(name: str, text: str) -> Attack:
    return plain(name, C, text, "verdict", never_ok=True)


ATTACKS: tuple[Attack, ...] = (
    _lies("equal to everything", "class A:\n    def __eq__(self, other):\n        return True\n    def __hash__(self):\n        return 1\nreturn A()"),
    _lies("repr of a literal", "class A:\n    def __repr__(self):\n        return '42'\nreturn A()"),
    _lies("a subclass of int", "class A(int):\n    def __repr__(self):\n        return '42'\nreturn A(1)"),
    _lies("a subclass of str", "class A(str):\n    def __eq__(self, other):\n        return True\n    __hash__ = str.__hash__\nreturn A('x')"),
    _lies("a subclass of list", "class A(list):\n    def __iter__(self):\n        return iter([42])\n    def __len__(self):\n        return 1\nreturn A([1])"),
    _lies("a subclass of dict", "class A(dict):\n    def items(self):\n        return [(1, 2)]\nreturn A(x=1)"),
    _lies("a subclass of tuple, nested", "class A(tuple):\n    pass\nreturn [A([1])]"),
    _lies("a subclass of float", "class A(float):\n    pass\nreturn A(1)"),
    _lies("a subclass of bytes", "class A(bytes):\n    pass\nreturn A(b'1')"),
    _lies("a subclass of set", "class A(set):\n    pass\nreturn A([1])"),
    _lies("a lying key", "class A:\n    def __hash__(self):\n        return 1\nreturn {A(): 1}"),
    _lies("a lying __class__", "class A:\n    __class__ = property(lambda self: int)\nreturn A()"),
    _lies("a type that lies about its name", "class M(type):\n    __name__ = property(lambda cls: 'int')\n    __qualname__ = property(lambda cls: 'int')\nclass A(metaclass=M):\n    pass\nreturn A()"),
    _lies("a changed __class__", "class A:\n    pass\nclass B(A):\n    pass\na = B()\na.__class__ = A\nreturn a"),
    _lies("a generator", "return (x for x in (1,))"),
    _lies("a function", "return lambda: 1"),
    _lies("a module", "import math\nreturn math"),
    _lies("a type", "return int"),
    _lies("a decimal", "import decimal\nreturn decimal.Decimal(1)"),
    _lies("an enum", "import enum\nclass E(enum.IntEnum):\n    A = 1\nreturn E.A"),
    _lies("an ellipsis", "return ..."),
    _lies("nan", "return float('nan')"),
    _lies("infinity, nested", "return [1, (2, float('-inf'))]"),
    _lies("a complex nan", "return complex(1, float('nan'))"),
    _lies("a string of ten megabytes", "return 'x' * 10_000_000"),
    _lies("bytes of ten megabytes", "return b'x' * 10_000_000"),
    _lies("an integer of a million digits", "return 10 ** 1_000_000"),
    _lies("a list of a million", "return [0] * 1_000_000"),
    _lies("a billion laughs", "x = ['ha']\nfor _ in range(60):\n    x = [x, x]\nreturn x"),
    _lies("a list in itself", "x = []\nx.append(x)\nreturn x"),
    _lies("a dict in itself", "x = {}\nx[1] = x\nreturn x"),
    _lies("nesting of a million", "x = []\nfor _ in range(10**6):\n    x = [x]\nreturn x"),
    _lies("tuples deep in a set", "x = ()\nfor _ in range(5000):\n    x = (x,)\nreturn {x}"),
    _lies("an exception with an evil text", "class E(Exception):\n    def __str__(self):\n        while True:\n            pass\nraise E"),
    _lies("an exception that names the host's paths", "raise type('/etc/passwd @TOKEN@', (Exception,), {})"),
    _lies("an exception with a megabyte of name", "raise type('E' * 1_000_000, (Exception,), {})"),
    _lies("an exception with an evil metaclass", "class M(type):\n    __name__ = property(lambda cls: 1 / 0)\nclass E(Exception, metaclass=M):\n    pass\nraise E"),
    _lies("an exception group of depth", "e = ValueError()\nfor _ in range(5000):\n    e = ExceptionGroup('x', [e])\nraise e"),
    _lies("an unhashable set by a claim", "class A(list):\n    __hash__ = lambda self: 1\nreturn {A()}"),
    plain("a string that breaks out of quotes", C, "return \"'] + [__import__('os').system('touch @DIR@/@TOKEN@')] + ['\"", "file"),
    plain("lone surrogates", C, "return '\\ud800\\udfff' * 100", "honest"),
    plain("NUL, escape codes and bidi marks", C, "return '\\x00\\x1b[2J\\u202e\\r\\n'", "honest"),
    plain("a dict whose keys are equal", C, "return {1: 'a', 1.0: 'b', True: 'c'}", "verdict"),
    plain("minus zero", C, "return -0.0", "verdict"),
    plain("a large but legal text", C, "return 'x' * 8000", "verdict"),
    plain("an integer at the limit of digits", C, "return 10 ** 4200", "verdict"),
    plain("many small values", C, "return list(range(1500))", "verdict"),
)
