"""The compact template: its exact texts, and what it makes of anything that may come back."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azrl.tasks.prompts import Malformed, build_template
from azrl.tasks.types import KINDS, Draft, Kind, Spec, Task

TEMPLATE = build_template("compact")
PROGRAM = "def f(x):\n    return x + 1"
TASK = {kind: Task(kind, PROGRAM, ("1",), ("2",)) for kind in (Kind.ABDUCTION, Kind.DEDUCTION)}
INDUCTION = Task(Kind.INDUCTION, PROGRAM, ("1", "2", "3"), ("2", "3", "4"), message="add\none", shown=2)
ANOTHER = Task(Kind.DEDUCTION, "def f(x):\n    return x[0]", ("[4]",), ("4",))


def test_the_solvers_prompts() -> None:
    assert TEMPLATE.solve(TASK[Kind.DEDUCTION]) == f"deduce\n{PROGRAM}\nin 1\nout "
    assert TEMPLATE.solve(TASK[Kind.ABDUCTION]) == f"abduce\n{PROGRAM}\nout 2\nin "
    assert TEMPLATE.solve(INDUCTION) == "induce\nnote add one\nin 1\nout 2\nin 2\nout 3\nnew\n"
    silent = Task(Kind.INDUCTION, PROGRAM, ("1", "2"), ("2", "3"), shown=1)
    assert TEMPLATE.solve(silent) == "induce\nin 1\nout 2\nnew\n"


def test_no_prompt_holds_its_answer() -> None:
    hidden = Task(Kind.INDUCTION, "def f(x):\n    return 77", ("1", "98"), ("77", "96"), shown=1)
    prompt = TEMPLATE.solve(hidden)
    assert not any(secret in prompt for secret in ("98", "96", "def f"))
    assert "96" not in TEMPLATE.solve(Task(Kind.DEDUCTION, PROGRAM, ("95",), ("96",)))
    assert "95" not in TEMPLATE.solve(Task(Kind.ABDUCTION, PROGRAM, ("95",), ("96",)))


def test_the_proposers_prompts() -> None:
    references = [TASK[Kind.DEDUCTION], ANOTHER]
    assert TEMPLATE.propose(Spec(Kind.DEDUCTION, 3), Kind.DEDUCTION, references) == (
        f"propose deduction |||\nref\n{PROGRAM}\nin 1\nref\n{ANOTHER.program}\nin [4]\nnew\n"
    )
    assert TEMPLATE.propose(None, Kind.ABDUCTION, []) == "propose abduction \nnew\n"
    assert TEMPLATE.propose(Spec(Kind.INDUCTION, 1), Kind.INDUCTION, references) == (
        f"propose induction |\n{PROGRAM}\nin "
    )


def test_proposals_are_read() -> None:
    spec, references = Spec(Kind.DEDUCTION, 2), [TASK[Kind.DEDUCTION], ANOTHER]
    parents = tuple(t.id for t in references)
    read = TEMPLATE.parse_proposal(spec, Kind.DEDUCTION, references, f"{PROGRAM}\nin  [1, 2] \n")
    assert read == Draft(Kind.DEDUCTION, PROGRAM, ("[1, 2]",), bin=2, parents=parents)
    read = TEMPLATE.parse_proposal(None, Kind.ABDUCTION, [], f"{PROGRAM}\nin 1\nin 'a', 2")
    assert read == Draft(Kind.ABDUCTION, f"{PROGRAM}\nin 1", ("'a', 2",))
    read = TEMPLATE.parse_proposal(Spec(Kind.INDUCTION, 1), Kind.INDUCTION, references, "1\nin 2\nin  3")
    assert read == Draft(Kind.INDUCTION, PROGRAM, ("1", "2", "3"), bin=1, parents=parents[:1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "no_input"), (PROGRAM, "no_input"), (f"{PROGRAM}\nin ", "no_input"), (f"{PROGRAM}\nin 1\n2", "no_input"),
     ("x = 1\nin 1", "no_program"), ("\nin 1", "no_program"), ("def g(x):\n    return x\nin 1", "no_program")],
)  # fmt: skip
def test_proposals_that_are_none(text: str, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        TEMPLATE.parse_proposal(Spec(Kind.DEDUCTION, 1), Kind.DEDUCTION, [], text)
    assert refused.value.reason == reason


def test_answers_are_read() -> None:
    assert TEMPLATE.parse_answer(Kind.DEDUCTION, " [1] \n") == "[1]"
    assert TEMPLATE.parse_answer(Kind.ABDUCTION, "1, 'a'") == "1, 'a'"
    assert TEMPLATE.parse_answer(Kind.INDUCTION, f"{PROGRAM}\n") == PROGRAM


def test_the_last_line_answers_and_working_is_free() -> None:
    assert TEMPLATE.parse_answer(Kind.DEDUCTION, "[1, 2]\nnot a value\n3\n") == "3"
    assert TEMPLATE.parse_answer(Kind.ABDUCTION, "3\n\n[1, 2]") == "[1, 2]"


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (Kind.DEDUCTION, " \n", "empty"),
        (Kind.INDUCTION, "", "empty"),
        (Kind.INDUCTION, "x + 1", "no_program"),
    ],
)
def test_answers_that_are_none(kind: Kind, text: str, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        TEMPLATE.parse_answer(kind, text)
    assert refused.value.reason == reason


@given(st.sampled_from(KINDS), st.text(alphabet="def f(x):\nin 1'[]\0é|", max_size=60))
def test_whatever_comes_is_read_or_malformed(kind: Kind, text: str) -> None:
    references = [TASK[Kind.DEDUCTION]]
    for read in (
        lambda: TEMPLATE.parse_answer(kind, text),
        lambda: TEMPLATE.parse_proposal(Spec(kind, 1), kind, references, text),
    ):
        with suppress(Malformed):
            assert isinstance(read(), str | Draft)


@given(st.integers(1, 9), st.lists(st.integers(), min_size=1, max_size=3))
def test_a_proposal_written_as_the_references_are_is_read_back(size: int, values: list[int]) -> None:
    task = Task(Kind.DEDUCTION, PROGRAM, (", ".join(map(str, values)),), ("0",))
    prompt = TEMPLATE.propose(Spec(Kind.DEDUCTION, size), Kind.DEDUCTION, [task])
    written = prompt.split("ref\n")[1].removesuffix("\nnew\n")
    draft = TEMPLATE.parse_proposal(Spec(Kind.DEDUCTION, size), Kind.DEDUCTION, [task], written)
    assert (draft.program, draft.inputs, draft.bin) == (task.program, task.inputs, size)
