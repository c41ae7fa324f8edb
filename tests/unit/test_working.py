"""Working: programs that record their own steps say the same as before, and what they did."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azrl.executor import Job, Limits, Status
from azrl.executor.mock import MockExecutor
from azrl.tasks.normalise import Unparsable
from azrl.tasks.working import recorded


def steps(program: str, *arguments: str) -> list[list[str]]:
    [result] = MockExecutor().run([Job(recorded(program), arguments, Limits())])
    assert result.status is Status.OK
    return [ast.literal_eval(output or "") for output in result.outputs]


@pytest.mark.parametrize(
    ("body", "argument", "expected"),
    [
        ("return x", "7", ["7"]),
        ("return x + 1 - 2", "7", ["8", "6"]),
        ("y = [x, 2]\nreturn y[::-1]", "7", ["[7, 2]", "[2, 7]"]),
        ("if x > 3:\n    return x * 2\nreturn 0", "7", ["True", "14"]),
        ("if x > 3:\n    return x * 2\nreturn 0", "1", ["False", "0"]),
        ("for v in range(2):\n    x = x - 4\nreturn x", "7", ["3", "-1", "-1"]),
        ("return [v * 2 for v in x][0]", "[3, 4]", ["[6, 8]", "6"]),
        ("x[0] = 9\nreturn len(x)", "[3, 4]", ["9", "2"]),
        ("y = []\nfor v in x:\n    y.append(v)\nreturn y", "[1, 2]", ["[]", "None", "None", "[1, 2]"]),
        ("return sorted(x, key=lambda v: -v)", "[1, 2]", ["[2, 1]"]),
    ],
)
def test_every_operation_says_what_it_gave_when_it_gave_it(
    body: str, argument: str, expected: list[str]
) -> None:
    program = "def f(x):\n    " + body.replace("\n", "\n    ")
    assert steps(program, argument, argument) == [expected, expected]


def test_a_helpers_call_is_one_operation() -> None:
    program = "def double(v):\n    return v * 2\ndef f(x):\n    return double(x) + 1"
    assert steps(program, "3") == [["6", "7"]]


@given(st.text(max_size=40))
def test_whatever_is_no_program_is_refused_or_kept_whole(text: str) -> None:
    try:
        program = recorded(text)
    except Unparsable:
        return
    ast.parse(program)
