"""The answer key: true answers with true working, in proportion to what failed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from azrl.engine import Completion, ScriptedEngine
from azrl.executor import Limits
from azrl.executor.mock import MockExecutor
from azrl.selfplay.answer_key import KEY, AnswerKey
from azrl.selfplay.solver import Group, Solver
from azrl.tasks.prompts import build_template
from azrl.tasks.types import Kind, Task

TIMES = "def f(x):\n    y = x * 3\n    return y % 10"
ADD = "def f(x):\n    return x + 4"
DEDUCTION = Task(Kind.DEDUCTION, TIMES, ("4",), ("2",))
ABDUCTION = Task(Kind.ABDUCTION, TIMES, ("4",), ("2",))
INDUCTION = Task(Kind.INDUCTION, ADD, ("1", "2", "3", "4"), ("5", "6", "7", "8"), shown=2)


def group(task: Task, *texts: str, template: str = "compact", keys: bool = True) -> Group:
    solver = Solver(
        build_template(template),
        ScriptedEngine(lambda prompt, u, k: ""),
        MockExecutor(),
        Limits(),
        ThreadPoolExecutor(1),
        keys=keys,
    )
    prompt = tuple(f"{task.kind}?".encode())
    said = [Completion(t, prompt, tuple(t.encode()), (-0.1,) * len(t.encode()), "stop") for t in texts]
    [judged] = solver.judge([(task, "p", said)])
    return judged


class Scorer(ScriptedEngine):
    """Gives every token the log-probability -2."""

    def __init__(self) -> None:
        super().__init__(lambda prompt, u, k: "")

    def score(self, sequences: list) -> list[list[float]]:  # type: ignore[override]
        return [[-2.0] * len(tokens) for _, tokens in sequences]


def learned(
    groups: list[Group], shuffle: np.random.Generator | None = None, weight: float = 0.5, room: int = 99
) -> list[tuple[str, str, float]]:
    key = AnswerKey(Scorer(), lambda text: [*text.encode(), 0], weight=weight, max_tokens=room)
    samples, terms = key.samples(groups, shuffle)
    assert terms == ({"key/samples": len(samples), "key/nll": 2.0} if samples else {})
    assert all(s.cell[1] == KEY and len(s.logprobs) == len(s.token_ids) for s in samples)
    return [
        (bytes(s.prompt_ids).decode(), bytes(s.token_ids[:-1]).decode(), s.advantage)
        for s in samples
        if s.token_ids[-1] == 0
    ]


@pytest.mark.parametrize(
    ("task", "right", "wrong", "key"),
    [
        (DEDUCTION, "2", "3", "12\n2"),
        (ABDUCTION, "4", "5", "4"),
        (INDUCTION, ADD, "def f(x):\n    return x", ADD),
    ],
)
def test_each_kind_has_its_key_and_learns_it_by_the_share_that_failed(
    task: Task, right: str, wrong: str, key: str
) -> None:
    assert group(task, right, right).key is None
    assert group(task, right, wrong, keys=False).key is None
    half = group(task, right, wrong)
    assert [a.correct for a in half.attempts] == [True, False]
    assert learned([half]) == [(f"{task.kind}?", key, 0.25)]
    assert learned([group(task, wrong, wrong, right, wrong)], weight=1.0) == [(f"{task.kind}?", key, 0.75)]


def test_no_weight_no_room_and_no_thinking_known_give_none() -> None:
    failed = group(DEDUCTION, "3")
    assert learned([failed], weight=0.0) == []
    assert learned([failed], room=4) == []
    assert learned([failed], room=5) != []
    assert group(DEDUCTION, "3", template="think").key is None


@pytest.mark.parametrize(
    ("program", "argument", "output"),
    [
        ("def f(x):\n    return 1 if x == 0 else x * f(x - 1)", "3", "6"),  # records nonsense
        (TIMES, "4", "5"),  # not what the gate saw
    ],
)
def test_working_that_does_not_end_in_the_output_is_no_key(program: str, argument: str, output: str) -> None:
    task = Task(Kind.DEDUCTION, program, (argument,), (output,))
    failed = group(task, "999")
    assert failed.attempts[0].correct is False
    assert failed.key is None


def test_the_control_deals_the_keys_out_anew_within_a_kind() -> None:
    tasks = [Task(Kind.DEDUCTION, f"def f(x):\n    return x + {i}", ("1",), (str(1 + i),)) for i in range(20)]
    groups = [group(task, "99") for task in tasks] + [group(INDUCTION, "def f(x):\n    return x")]
    true, dealt = learned(groups), learned(groups, np.random.default_rng(0))
    assert [prompt for prompt, *_ in dealt] == [prompt for prompt, *_ in true]
    assert sorted(answer for _, answer, _ in dealt) == sorted(answer for _, answer, _ in true)
    assert sum(a == b for a, b in zip(true, dealt, strict=True)) < 10
    assert dealt[-1] == true[-1]
