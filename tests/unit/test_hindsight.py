"""Hindsight: every relabelled example is true, and nothing else is relabelled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from azrl.engine import Completion, ScriptedEngine
from azrl.executor import Limits
from azrl.executor.mock import MockExecutor
from azrl.selfplay.hindsight import HINDSIGHT, Hindsight
from azrl.selfplay.solver import Group, Solver
from azrl.tasks.normalise import program_key
from azrl.tasks.prompts import build_template
from azrl.tasks.types import Kind, Task

TIMES = "def f(x):\n    return x * 3 % 10"
ADD = "def f(x):\n    return x + 4"
WRONG = "def f(x):\n    return x + 5"
SECRET = "def f(x):\n    return x * 7"
ABDUCTION = Task(Kind.ABDUCTION, TIMES, ("4",), ("2",), bin=1)
DEDUCTION = Task(Kind.DEDUCTION, TIMES, ("4",), ("2",), bin=1)
INDUCTION = Task(Kind.INDUCTION, ADD, ("1", "2", "3", "4"), ("5", "6", "7", "8"), "add", shown=2, bin=1)
TEMPLATE = build_template("compact")


def groups(task: Task, *texts: str) -> list[Group]:
    solver = Solver(
        TEMPLATE,
        ScriptedEngine(lambda prompt, u, k: ""),
        MockExecutor(),
        Limits(),
        ThreadPoolExecutor(1),
        frozenset({program_key(SECRET)}),
        keep_outputs=True,
    )
    said = [Completion(t, (1,), tuple(t.encode()), (-0.1,) * len(t.encode()), "stop") for t in texts]
    return solver.judge([(task, "p", said)])


class Scorer(ScriptedEngine):
    """Gives every token the log-probability -2."""

    def __init__(self) -> None:
        super().__init__(lambda prompt, u, k: "")

    def score(self, sequences: list) -> list[list[float]]:  # type: ignore[override]
        return [[-2.0] * len(tokens) for _, tokens in sequences]


def learned(found: list[Group], shuffle: np.random.Generator | None = None, **options: float) -> list:
    hindsight = Hindsight(
        TEMPLATE,
        Scorer(),
        lambda text: list(text.encode()),
        lambda prompt: len(prompt) <= options.get("prompt", 1000),
        weight=options.get("weight", 0.5),
        max_value_chars=int(options.get("chars", 50)),
    )
    samples, terms = hindsight.samples(found, shuffle)
    assert bool(terms) == bool(samples)
    assert all(s.advantage == 0.5 and s.cell[1] == HINDSIGHT for s in samples)
    assert all(s.logprobs == (-2.0,) * len(s.token_ids) for s in samples)
    if terms:
        assert terms == {"hindsight/samples": len(samples), "hindsight/nll": 2.0}
    return [(bytes(s.prompt_ids).decode(), bytes(s.token_ids).decode()) for s in samples]


def test_an_input_that_missed_is_right_for_the_output_that_it_gives() -> None:
    found = groups(ABDUCTION, "5", "4", "14", "'a'", "5", "7", "x")
    assert learned(found) == [
        (f"abduce\n{TIMES}\nout 5\nin ", "5"),
        (f"abduce\n{TIMES}\nout 1\nin ", "7"),
    ]


def test_a_wrong_program_is_right_for_the_pairs_that_it_makes() -> None:
    found = groups(INDUCTION, WRONG, ADD, WRONG)
    assert [a.correct for a in found[0].attempts] == [False, True, False]
    assert learned(found) == [("induce\nin 1\nout 6\nin 2\nout 7\nnew\n", WRONG)]


@pytest.mark.parametrize(
    "program",
    [
        "def f(x):\n    return 5",  # explains nothing
        "def f(x):\n    return x",  # nor does this
        "def f(x):\n    return 9 // (x - 1)",  # fails on a pair that is shown
        "def f(x):\n    return 'a' * 60 * x",  # too long to show
        SECRET,  # of the probe
        "def f(x:",
    ],
)
def test_programs_that_are_not_worth_learning(program: str) -> None:
    assert learned(groups(INDUCTION, program)) == []


def test_working_that_belongs_to_another_question_is_not_learned() -> None:
    assert learned(groups(ABDUCTION, "2\n5")) == []
    assert learned(groups(DEDUCTION, "5")) == []  # what a program returns does not depend on what was said


def test_no_weight_and_no_room_give_nothing() -> None:
    found = groups(ABDUCTION, "5")
    assert learned(found, weight=0.0) == []
    assert learned(found, prompt=10) == []


def test_the_control_deals_the_answers_out_anew() -> None:
    found = groups(ABDUCTION, *map(str, range(20, 40))) + groups(INDUCTION, WRONG)
    true, dealt = learned(found), learned(found, np.random.default_rng(0))
    assert [prompt for prompt, _ in dealt] == [prompt for prompt, _ in true]
    assert sorted(answer for _, answer in dealt) == sorted(answer for _, answer in true)
    assert sum(a == b for a, b in zip(true, dealt, strict=True)) < len(true) / 2
    assert dealt[-1] == true[-1]  # kinds do not mix
