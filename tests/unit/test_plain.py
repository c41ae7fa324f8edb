"""What the executor takes for canonical without parsing is what the judge would have said."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azrl.executor import plain
from azrl.tasks import judge

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.sets(st.integers(), max_size=3),
    max_leaves=8,
)
scraps = st.lists(
    st.sampled_from(
        ["[", "]", "(", ")", ", ", ",", " ", "'", '"', "\\", "0", "-", "7", "10", "True", "None", "a", "é"]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=600, deadline=None)
@given(values.map(repr) | scraps)
def test_what_matches_is_what_the_judge_says(text: str) -> None:
    if plain.value(text):
        assert judge.canonical(text) == text
    if plain.arguments(text):
        assert judge.arguments(text) == text


@pytest.mark.parametrize(
    "text", ["0", "-12", "True", "None", "'a b'", "[]", "[1, 'x']", "(1, 2)", "[(0, 1), (2, 3)]", "[[1], []]"]
)
def test_common_values_match(text: str) -> None:
    assert plain.value(text)
    assert plain.arguments(f"{text}, {text}")


@pytest.mark.parametrize("text", [
    "", "-0", "01", "+1", "1.0", "1e3", "[1,2]", "[1, 2,]", "(1)", "(1,)", "'it\\'s'", "'é'", '"a"', "'a\n'", "'\0'",
    "1 ", " 1", "1\n", "f()", "x", "1" * 5000, "[" * 300, "'a' 'b'", "[*[1]]",
])  # fmt: skip
def test_all_else_is_left_to_the_judge(text: str) -> None:
    assert not plain.value(text)


@pytest.mark.parametrize("text", ["[" + "1, " * 700, "[[" + "1, " * 700 + "x", "'" + "a" * 1999, "1, " * 600])
def test_what_almost_matches_takes_no_longer(text: str) -> None:
    start = time.process_time()
    assert not plain.value(text)
    assert not plain.arguments(text)
    assert time.process_time() - start < 0.05
