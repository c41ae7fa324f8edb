"""Composite programs: text that joins two programs, and the drafts that self-play makes of its own buffer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from azrl.buffer import TaskBuffer
from azrl.executor import Job
from azrl.executor.mock import MockExecutor
from azrl.models import programs
from azrl.selfplay.composer import Composer
from azrl.tasks.composite import NotComposable, composite
from azrl.tasks.normalise import statements
from azrl.tasks.types import Kind, Task


def run(program: str, argument: str) -> str | None:
    [result] = MockExecutor().run([Job(program, (argument,))])
    return result.outputs[0]


def test_the_second_runs_on_what_the_first_returns() -> None:
    joined = composite(
        "import math\ndef f(a, b=2):\n    a = a * b\n    return [a, math.sqrt(4)]",
        "def g(v):\n    return v + 1\ndef f(x):\n    y = x[0]\n    return g(y)",
    )
    assert run(joined.replace("math.sqrt(4)", "2").replace("import math\n", ""), "5") == "11"
    assert joined.startswith("import math\n")
    assert statements(joined) == 4


def test_drawn_programs_compose_as_functions_do_and_their_statements_add_up() -> None:
    rng, tried = Random(5), 0
    while tried < 60:
        first, kind = programs.program(rng, rng.randint(1, 2))
        second, wanted = programs.program(rng, rng.randint(1, 2))
        argument = programs.argument(rng, kind)
        between = run(first, argument)
        if between is None or (after := run(second, between)) is None or {"y", "z"} & set(second):
            continue
        tried += 1
        joined = composite(first, second)
        assert run(joined, argument) == after, (first, second, wanted)
        assert statements(joined) == statements(first) + statements(second)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("def f(x):\n    if x:\n        return 1\n    return 2", "def f(x):\n    return x", "only return"),
        ("def f(x):\n    x = 1", "def f(x):\n    return x", "only return"),
        ("def f(x):\n    return", "def f(x):\n    return x", "only return"),
        ("def f(x):\n    return x", "def f(x, y):\n    return x", "one argument"),
        ("def f(x):\n    return x", "def f(*x):\n    return x", "one argument"),
        ("def f(x):\n    return x", "def g(x):\n    return x", "one plain f"),
        ("def g(v):\n    return v\ndef f(x):\n    return g(x)", "def g(v):\n    v\ndef f(x):\n    return g(x)", "both"),
    ],
)  # fmt: skip
def test_what_cannot_be_joined_is_refused(first: str, second: str, why: str) -> None:
    with pytest.raises(NotComposable, match=why):
        composite(first, second)


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[TaskBuffer]:
    """Programs of one and two statements on lists, and one that takes text."""
    with TaskBuffer(tmp_path / "buffer.sqlite") as buffer:
        for kind in Kind:
            inputs = ("[3, 1]", "[2, 2, 0]", "[5]")[: 3 if kind is Kind.INDUCTION else 1]
            for i, lines in enumerate(("return x[::-1]", "x = x + [4]\n    return sorted(x)")):
                task = Task(kind, f"def f(x):\n    {lines}", inputs, inputs, bin=1 + i)
                buffer.add(task, key=f"list {i}", step=0)
        text = Task(Kind.DEDUCTION, "def f(x):\n    return x.upper()", ("'a'",), ("'A'",), bin=1)
        buffer.add(text, key="text", step=0)
        yield buffer


def test_drafts_are_of_the_kind_and_size_asked_for_and_types_fit(buffer: TaskBuffer) -> None:
    composer = Composer(buffer, seed=1)
    arms = [f"{kind}:{size}" for kind in Kind for size in (2, 3, 4)] * 5
    drafts = composer.drafts(arms, step=9)
    assert drafts == composer.drafts(arms, step=9) != composer.drafts(arms, step=10)
    assert len(drafts) >= 30
    for draft in drafts:
        assert statements(draft.program) == draft.bin
        assert len(draft.inputs) == (3 if draft.kind is Kind.INDUCTION else 1)
        assert len(draft.parents) == 2
        assert "[" not in draft.inputs[0] or "upper" not in draft.program
    assert {f"{d.kind}:{d.bin}" for d in drafts} == set(arms)


def test_one_statement_and_an_empty_buffer_give_nothing(buffer: TaskBuffer, tmp_path: Path) -> None:
    assert Composer(buffer, seed=1).drafts(["deduction:1"] * 3, step=1) == []
    with TaskBuffer(tmp_path / "empty.sqlite") as empty:
        assert Composer(empty, seed=1).drafts(["deduction:2"] * 3, step=1) == []
