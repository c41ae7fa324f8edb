"""Source text that is hard to compile, and input text that is not just arguments."""

from __future__ import annotations

from attacks.model import Attack

C = "source and inputs"
_F = "def f(*a):\n    return len(a)\n"


def _source(name: str, text: str) -> Attack:
    return Attack(name, C, text, "verdict", never_ok=True, cpu_s=1.0, wall_s=2.5)


def _input(name: str, text: str) -> Attack:
    return Attack(name, C, _F, "verdict", inputs=(text,), never_ok=True)


ATTACKS: tuple[Attack, ...] = (
    _source("deep parentheses", "x = " + "(" * 9000 + ")" * 9000),
    _source("deep lists", "x = " + "[" * 9000 + "]" * 9000),
    _source("folding constants", "x = " + "'a' * 4096 * " * 500 + "1\n" + "y = 2 ** 9 ** 9\n"),
    _source("many minus signs", "x = " + "-" * 30000 + "1"),
    _source("many nots", "x = " + "not " * 7000 + "1"),
    _source("nested ifs", "".join(" " * i + "if 1:\n" for i in range(120)) + " " * 120 + "pass\n"),
    _source(
        "nested functions", "".join(" " * i + f"def g{i}():\n" for i in range(110)) + " " * 110 + "pass\n"
    ),
    _source("nested f-strings", "x = " + "f'{" * 2000 + "1" + "}'" * 2000),
    _source("a long chain of attributes", "x = a" + ".b" * 14000),
    _source("a long chain of comparisons", "x = " + "1 < " * 7000 + "1"),
    _source("a long chain of operators", "x = " + "1 + " * 7000 + "'a'"),
    _source("a NUL byte", "def f():\n    return '\0'\n"),
    _source("a lone surrogate", "def f():\n    return '\ud800'\n"),
    _source("an encoding line", "# -*- coding: rot13 -*-\ndef s():\n    erghea 1\n"),
    _source("a decorator storm", "\n".join(["@print"] * 3000) + "\ndef g():\n    pass\n"),
    _source("more source than allowed", "def f():\n    return 1\n" + "#" * 40_000),
    _source("no f", "x = 1"),
    _source("f that cannot be called", "f = 3"),
    _source("f that lies about being callable", "class A:\n    __call__ = 3\nf = A()"),
    _source("no text at all", ""),
    _input("a call", "__import__('os').system('touch @DIR@/@TOKEN@')"),
    _input("close the call, open another", "1) or (2"),
    _input("a second statement", "1)\nimport os\n("),
    _input("a comprehension", "[x for x in ().__class__.__base__.__subclasses__()]"),
    _input("a lambda", "lambda: 1"),
    _input("an f-string", "f'{1}'"),
    _input("a walrus", "(a := 1)"),
    _input("a star", "*range(10**9)"),
    _input("two stars", "**{'x': 1}"),
    _input("a name", "f"),
    _input("a NUL byte in an input", "'\0'"),
    _input("nesting bomb", "[" * 5000 + "]" * 5000),
    _input("a hundred thousand digits", "9" * 100_000),
    _input("a power", "9**9**9"),
    Attack("a comment that swallows the call", C, _F, "verdict", inputs=("1 #",)),
    _input("a backslash at the end", "1\\"),
    _input("an await", "await f"),
    _input("repetition", "'x' * 10**10"),
)
