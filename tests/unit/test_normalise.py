"""Normalisation: what makes two programs one, and what does not."""

import ast
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azrl.tasks import normalise, policy
from azrl.tasks.normalise import Unparsable, program_key, statements

PLAIN = """\
def f(xs, n):
    total = 0
    for x in xs:
        total += x * n
    return total
"""

DRESSED = '''\
"""A module."""
def go(values: list[int], factor: int = 3) -> int:
    """Weigh."""
    acc: int = 0  # so far
    spare: str
    for item in values:
        "note"
        acc += (item * factor)

    return acc
'''.replace(" = 3", "")


def test_names_annotations_comments_and_layout_do_not_matter():
    expected = "def f(v0, v1):\n    v2 = 0\n    for v3 in v0:\n        v2 += v3 * v1\n    return v2"
    assert normalise.normalise(PLAIN) == expected
    assert normalise.normalise(DRESSED) == expected
    assert program_key(PLAIN) == program_key(DRESSED)
    assert len(program_key(PLAIN)) == 16
    assert int(program_key(PLAIN), 16)


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace("x * n", "n * x"),
        PLAIN.replace("0", "1"),
        PLAIN.replace("total += x * n", "total -= x * n"),
        PLAIN.replace("xs, n", "n, xs"),
        PLAIN.replace("return total", "return n"),
        PLAIN.replace("return total", "return [total]"),
    ],
)
def test_what_a_program_does_matters(other: str):
    assert program_key(other) != program_key(PLAIN)


def test_free_names_stay_and_bound_ones_change_everywhere():
    source = """\
import math as m
import re
def helper(a, *, key=None):
    return sorted(a, key=key)
def f(sum):
    try:
        g = lambda q: helper(q, key=len)
        return [g(y) for y in sum] + [len(str(m.pi)), re.escape('a')]
    except ValueError as e:
        return str(e)
"""
    expected = """\
import math as v0
import re

def v1(v2, *, v3=None):
    return sorted(v2, key=v3)

def f(v4):
    try:
        v5 = lambda v6: v1(v6, v3=len)
        return [v5(v7) for v7 in v4] + [len(str(v0.pi)), re.escape('a')]
    except ValueError as v8:
        return str(v8)"""
    assert normalise.normalise(source) == expected


names = st.lists(
    st.sampled_from(["a", "b", "xs", "value", "acc", "v1", "v0", "sum", "_"]),
    min_size=4,
    max_size=4,
    unique=True,
)


@given(names)
def test_any_renaming_has_one_key_and_normalising_twice_is_once(chosen: list[str]):
    source = PLAIN
    for old, new in zip(("xs", "total", "x", "n"), ("A0", "A1", "A2", "A3"), strict=True):
        source = re.sub(rf"\b{old}\b", new, source)
    for i, name in enumerate(chosen):
        source = source.replace(f"A{i}", name)
    assert program_key(source) == program_key(PLAIN)
    once = normalise.normalise(source)
    assert normalise.normalise(once) == once
    ast.parse(once)


def test_statements_counts_the_body_of_f():
    assert statements(PLAIN) == 3
    assert statements(DRESSED.replace("go", "f")) == 3
    assert statements("import re\ndef g(x):\n    y = x\n    return y\ndef f(x):\n    return g(x)") == 1
    with pytest.raises(Unparsable, match="no_f"):
        statements("def g(x):\n    return x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(x:", "syntax"),
        ("def f(x):\n    return \0", "syntax"),
        ("def f(x):\n    return '\ud800'", "syntax"),
        ("def f(x):\n    return " + "9" * 5000, "syntax"),
        ("def f(x):\n    return " + "0x" + "f" * 5000, "digits"),
        ("def f(x):\n    return x" + " + 1" * 5000, "too_deep"),
        ("#" * 40000, "too_long"),
    ],
)
def test_what_is_no_program_is_named(text: str, reason: str):
    with pytest.raises(Unparsable) as caught:
        program_key(text)
    assert caught.value.reason == reason


@given(st.text(alphabet="def f(x):\n =+[]{}'\"\\returnlambda*,.0123@:", max_size=60))
def test_no_text_crashes(text: str):
    for source in (text, "def f(x):\n    " + text):
        try:
            normalise.normalise(source)
            policy.check(source, ())
        except Unparsable:
            continue


def test_a_foreign_text_warns_nobody():
    call = r"from azrl.tasks import normalise; normalise.normalise('def f(x):\n    return \'\\d\'')"
    done = subprocess.run([sys.executable, "-W", "always", "-c", call], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


FORBIDDEN = ("os", "random", "urllib.request")


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (PLAIN, None),
        ("import math\nfrom collections import deque\nK = 2\ndef g(x):\n    return x\n" + PLAIN, None),
        ("def f(input, id):\n    return hash_(input, id)", None),
        ("class P:\n    def __init__(self, x):\n        self.x = x\ndef f(x):\n    return P(x).x", None),
        ("x = 3", "no_f"),
        ("class f:\n    pass", "no_f"),
        (PLAIN + PLAIN, "several_f"),
        (PLAIN + "f = len", "several_f"),
        ("def f():\n    return 1", "no_parameters"),
        ("def f(x):\n    yield x", "yield"),
        ("def f(x):\n    def g():\n        yield x\n    return list(g())", None),
        ("async def f(x):\n    return x", "async"),
        ("def f(x):\n    async def g():\n        return 1\n    return x", "async"),
        ("N = 0\ndef f(x):\n    global N\n    N += x\n    return N", "state"),
        ("import math\ndef f(x):\n    math.n = x\n    return x", "state"),
        ("import math as m\ndef f(x):\n    m.n += x\n    return x", "state"),
        ("from decimal import getcontext as c\ndef f(x):\n    c().prec = x\n    return x", "state"),
        ("import math\ndef f(x):\n    setattr(math, 'n', x)\n    return x", "name:setattr"),
        ("import math\ndef f(x):\n    x[0] = math.pi\n    return x", None),
        (PLAIN + "f([1], 2)", "top_level"),
        ("import os.path\n" + PLAIN, "import:os"),
        ("from random import choice\n" + PLAIN, "import:random"),
        ("from urllib import request\n" + PLAIN, "import:urllib.request"),
        ("from urllib import parse\n" + PLAIN, None),
        ("import osmium\n" + PLAIN, None),
        ("from . import a\n" + PLAIN, "import:."),
        ("from math import *\n" + PLAIN, "import:math"),
        ("def f(x):\n    return hash(x)", "name:hash"),
        ("def f(x):\n    return (lambda: eval)()(x)", "name:eval"),
        ("def f(x):\n    return __builtins__", "name:__builtins__"),
        ("def f(x):\n    return x.__class__", "attribute:__class__"),
        ("def f(x):\n    return x.__len__()", None),
    ],
)
def test_policy(program: str, code: str | None):
    assert policy.check(program, FORBIDDEN) == code


def test_policy_needs_a_program():
    with pytest.raises(Unparsable):
        policy.check("def f(", ())
