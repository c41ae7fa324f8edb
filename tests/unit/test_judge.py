"""The judge: agrees with Python on literals, and no text can crash or stall it."""

import ast
import random
import string
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azrl.tasks import judge
from azrl.tasks.judge import NotLiteral

hashables = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.complex_numbers(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)
values = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.sets(hashables, max_size=4)
    ),
    max_leaves=12,
)


def reason(text: str, **limits: int) -> str:
    with pytest.raises(NotLiteral) as caught:
        judge.canonical(text, **limits)
    return caught.value.reason


@given(values)
def test_canonical_text_is_a_fixed_point_and_keeps_the_value(value):
    text = judge.canonical(repr(value))
    assert judge.canonical(text) == text
    assert judge.literal(text) == value
    assert type(judge.literal(text)) is type(value)
    assert judge.render(value) == text


@given(values, values)
def test_equal_is_python_equality(a, b):
    assert judge.equal(repr(a), repr(b)) == (a == b)
    assert judge.equal(repr(a), repr(a))


@given(st.lists(values, max_size=4), st.dictionaries(st.sampled_from(["x", "y", "_z1"]), values, max_size=3))
def test_arguments_round_trip(positional, keywords):
    text = ",\n ".join([*map(repr, positional), *(f"{k} = {v!r}" for k, v in keywords.items())])
    assert judge.call(text) == (tuple(positional), keywords)
    canonical = judge.arguments(text)
    assert judge.arguments(canonical) == canonical
    assert judge.call(canonical) == (tuple(positional), keywords)


# What Python's own reader of literals says of whatever it accepts, down to the type.
written = st.text(alphabet="'\"\\\n\tabxuNrB{}01 é", max_size=12)


@given(st.sampled_from(["", "r", "b", "rb", "u", "BR"]), st.sampled_from(["'", '"', "'''", '"""']), written)
@settings(max_examples=500)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")
def test_strings_read_as_in_python(prefix: str, quote: str, body: str):
    text = prefix + quote + body + quote
    try:
        expected = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        expected = NotLiteral
    try:
        found = judge.literal(text)
    except NotLiteral:
        found = NotLiteral
    if "\\N" in body or "\r" in body:
        return
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[ 1,2 ]", "[1, 2]"),
        ("1, 2", "(1, 2)"),
        ("((1))", "1"),
        ("(1,)", "(1,)"),
        ("{3, 1, 2}", "{1, 2, 3}"),
        ("{'b', 'a', 3}", "{'a', 'b', 3}"),
        ("{frozenset([2,1]): set()}", "{frozenset({1, 2}): set()}"),
        ("{2: 1, 1: 2,}", "{2: 1, 1: 2}"),
        ("0x_ff", "255"),
        ("1_000", "1000"),
        ("1e3", "1000.0"),
        ("-1", "-1"),
        ("+1", "1"),
        ("1 - 2j", "(1-2j)"),
        ("'a' \"b\"", "'ab'"),
        (r"'\d\x41\n'", r"'\\dA\n'"),
        (r"'\ud800'", r"'\ud800'"),
        (" [1,\r\n2]  # done", "[1, 2]"),
    ],
)
def test_canonical_forms(text: str, expected: str):
    assert judge.canonical(text) == expected


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("{2, 1}", "{1,2}", True),
        ("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", True),
        ("1", "1.0", True),
        ("1", "True", True),
        ("[0, {1: 2}]", "[False, {1.0: 2}]", True),
        ("-0.0", "0", True),
        ("(-0-1j)", "-1j", True),
        ("set()", "frozenset()", True),
        ("[1]", "(1,)", False),
        ("'a'", "b'a'", False),
        ("0.1", "0.10000000000000002", False),
        ("x", "x", False),
        ("nan", "nan", False),
        ("1) or (True", "1", False),
        ("__import__('os').system('true')", "0", False),
    ],
)
def test_what_equals_what(a: str, b: str, same: bool):
    assert judge.equal(a, b) is same
    assert judge.equal(b, a) is same


@pytest.mark.parametrize(
    "text",
    ["", "a", "1+1", "1-1", "nan", "inf", "f'a'", "...", "[1", "]", "'a", "'''a'", "007", "--1", "-True",
     "()()", "1 2", "{1: 2, 3}", "(,)", "[,]", "1\n2", "'a'\n'b'", "'a'b'c'", "[*[1]]", "{**{}}", "x=1",
     "set(1)", "f(1)", "lambda: 1", "[x for x in [1]]", "1 if 1 else 2", "a := 1", "not 1", "1;",
     "'\\x4'", "'\\U00110000'"],
)  # fmt: skip
def test_what_is_no_literal(text: str):
    assert reason(text)


def test_bounds_have_reasons():
    assert reason("'" + "a" * 8191 + "'") == "too_long"
    assert reason("[1, 2]", max_chars=5) == "too_long"
    assert reason("'\x01\x01\x01'", max_chars=8) == "too_long", "the result is bounded as well"
    assert reason("[" * 65 + "]" * 65) == "too_deep"
    assert judge.canonical("[" * 64 + "]" * 64)
    assert reason("9" * 4301) == "digits"
    assert judge.canonical("9" * 4300) == "9" * 4300
    assert reason("0x" + "f" * 3600) == "digits"
    assert reason("[" + "0," * 10000 + "]", max_chars=30000) == "too_many"
    assert reason("1e999") == "infinite"
    assert reason("1+1e999j") == "infinite"
    assert reason("'\0'") == "character"
    assert reason("'\ud800'") == "character"
    assert reason("{[1]}") == "unhashable"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1,2],'a', n = 3", "[1, 2], 'a', n=3"),
        ("", ""),
        ("1,", "1"),
        ("(1, 2)", "(1, 2)"),
        ("'a',\n{1:2}", "'a', {1: 2}"),
    ],
)
def test_argument_texts(text: str, expected: str):
    assert judge.arguments(text) == expected


@pytest.mark.parametrize(
    "text", ["x=1, 2", "x=1, x=2", "*[1]", "**{}", "if=1", ",", "1,,2", "f(1)", "1); f(2", "1==1"]
)
def test_what_are_no_arguments(text: str):
    with pytest.raises(NotLiteral):
        judge.arguments(text)


def _grammar(rng: random.Random, depth: int = 0) -> str:
    """A random literal, or nearly one."""
    kind = rng.randrange(9 if depth < 5 else 5)
    if kind == 0:
        return str(rng.choice([0, 1, -1, rng.randrange(10**6), rng.random(), 1e300, 10 ** rng.randrange(60)]))
    if kind == 1:
        return repr("".join(rng.choices(string.printable + "é\u2028\x00", k=rng.randrange(8))))
    if kind == 2:
        return rng.choice(
            ["None", "True", "set()", "b'\\xff'", "1e400", "1+2j", "nan", "...", "'\\N{DASH}'", "0x1F"]
        )
    if kind == 3:
        return rng.choice("()[]{},:+-'\"#\\ \n") * rng.randrange(1, 90)
    if kind == 4:
        return "9" * rng.choice([1, 20, 4299, 4300, 4301])
    inner = [_grammar(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 5:
        return "{" + ", ".join(f"{a}: {a}" for a in inner) + "}"
    opening, closing = rng.choice(["[]", "()", "{}"])
    nest = rng.choice([1, 1, 1, 3, 70])
    return opening * nest + ", ".join(inner) + closing * nest


def _mutated(rng: random.Random, text: str) -> str:
    characters = list(text)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(characters) + 1)
        characters[at : at + rng.randrange(3)] = rng.choices(
            "()[]{},:'\"\\+-.0eEjxbrf#*=_ \n\0\ud800é", k=rng.randrange(3)
        )
    return "".join(characters)


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    ["'''\\", "'''a\\", '"""\\', "'\\", "b'''", "#'''", "1_", " \n", "[", "'a", "'a\n", "rb''", "#\n", "0x"],
)  # fmt: skip
def test_time_is_linear_in_the_text(piece: str) -> None:
    """What makes a reader go back and forth: strings never closed, escapes, comments, half numbers. The longest
    text that is read takes some milliseconds, where a quadratic reader needs a third of a second."""
    text = (piece * 8192)[:8192]
    start = time.thread_time()
    with suppress(NotLiteral):
        judge.canonical(text)
    assert time.thread_time() - start < 0.05


def test_no_answer_of_100000_crashes_or_takes_50_ms():
    """Grammar-made, mutated and random answers, up to and over the longest that is read."""
    rng = random.Random(0)
    accepted = refused = 0
    worst = 0.0
    for i in range(100_000):
        if i % 4 == 3:
            text = rng.randbytes(rng.randrange(60)).decode("latin-1")
        else:
            text = _grammar(rng)
            text = _mutated(rng, text) if i % 2 else text
        if i % 500 == 0:
            text = text * (8192 // max(1, len(text)))
        start = time.thread_time()
        try:
            canonical = judge.canonical(text)
        except NotLiteral:
            refused += 1
            canonical = None
        judge.equal(text, "[1, 'a']")
        worst = max(worst, time.thread_time() - start)
        if canonical is not None:
            accepted += 1
            assert accepted % 10 or judge.canonical(canonical) == canonical
    assert accepted > 10_000
    assert refused > 10_000
    assert worst < 0.05, f"{worst * 1000:.1f} ms"
