"""The solver: every answer judged on its own merit, whoever shares its job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from azrl.config.schema import Selfplay
from azrl.engine import Completion, Request, ScriptedEngine
from azrl.executor import Job, Limits, Result, Status, open_executor
from azrl.executor.mock import MockExecutor
from azrl.selfplay.credit import solver_earnings
from azrl.selfplay.solver import Attempt, Group, Solver
from azrl.tasks.normalise import program_key
from azrl.tasks.prompts import build_template
from azrl.tasks.types import Kind, Task

TIMES = "def f(x):\n    return x * 3 % 10"
ADD = "def f(x):\n    return x + 4"
COUNT = "def f(x):\n    n = 0\n    for v in range(x):\n        n = 5\n    return n"
DEDUCTION = Task(Kind.DEDUCTION, TIMES, ("4",), ("2",))
ABDUCTION = Task(Kind.ABDUCTION, TIMES, ("4",), ("2",))
INDUCTION = Task(Kind.INDUCTION, ADD, ("1", "2", "3", "4"), ("5", "6", "7", "8"), shown=2)


class Recorder(MockExecutor):
    """The mock, with what it was asked and, by program, results that it gives instead."""

    def __init__(self, instead: Mapping[str, Status] | None = None) -> None:
        super().__init__()
        self.asked: list[list[Job]] = []
        self.instead = instead or {}

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        self.asked.append(list(jobs))
        results = zip(jobs, super().run(jobs), strict=True)
        return [self._trouble(job) if job.program in self.instead else result for job, result in results]

    def _trouble(self, job: Job) -> Result:
        return Result(self.instead[job.program], (None,) * len(job.inputs), "trouble")


def said(text: str, finish: str = "stop") -> Completion:
    return Completion(text, (1,), tuple(text.encode()), (-0.1,) * len(text.encode()), finish)


def judged(
    task: Task, *texts: str, executor: MockExecutor | None = None, finish: str = "stop", **limits: float
) -> list[Attempt]:
    solver = Solver(
        build_template("compact"),
        ScriptedEngine(lambda prompt, u, k: ""),
        executor or MockExecutor(),
        Limits(**limits),  # type: ignore[arg-type]
        ThreadPoolExecutor(1),
        frozenset({program_key("def f(x):\n    return x + 4 + 0")}),
    )
    [group] = solver.judge([(task, "p", [said(text, finish) for text in texts])])
    assert group.task is task
    return list(group.attempts)


@pytest.mark.parametrize(
    ("task", "text", "correct", "formed"),
    [
        (DEDUCTION, "2", True, True),
        (DEDUCTION, " 2.0 ", True, True),
        (DEDUCTION, "3", False, True),
        (DEDUCTION, "two", False, False),
        (DEDUCTION, "1 + 1", False, False),
        (DEDUCTION, "", False, False),
        (DEDUCTION, "2\n2", True, True),  # working, then the answer
        (DEDUCTION, "2\n3", False, True),
        (DEDUCTION, "2\nis it", False, False),
        (ABDUCTION, "4", True, True),
        (ABDUCTION, "14", True, True),  # any input that gives the output
        (ABDUCTION, "5", False, True),
        (ABDUCTION, "'a'", False, True),  # raises
        (ABDUCTION, "4, 4", False, True),
        (ABDUCTION, "f(4)", False, False),
        (INDUCTION, ADD, True, True),
        (INDUCTION, "def f(y):\n    return 4 + y", True, True),
        (INDUCTION, "def f(x):\n    return x + 5", False, True),
        (INDUCTION, "def f(x):\n    if x < 4:\n        return x + 4\n    return 0", False, True),
        (INDUCTION, "def f(x:\n    return", False, False),
        (INDUCTION, "def f(x):\n    return 1 / 0", False, True),
        (INDUCTION, "lambda x: x + 4", False, False),
    ],
)
def test_an_answer_is_right_wrong_or_malformed(task: Task, text: str, correct: bool, formed: bool) -> None:
    [attempt] = judged(task, text)
    assert (attempt.correct, attempt.answer is not None) == (correct, formed)
    assert (attempt.reason == "right") == correct


def test_an_induction_answer_is_judged_by_the_pairs_that_were_hidden() -> None:
    overfit = "def f(x):\n    if x == 1:\n        return 5\n    return 6"
    hidden = "def f(x):\n    if x == 3:\n        return 7\n    return 8"
    assert [a.correct for a in judged(INDUCTION, overfit, hidden)] == [False, True]


def test_a_completion_that_was_cut_off_is_malformed_however_right() -> None:
    [attempt] = judged(DEDUCTION, "2", finish="length")
    assert (attempt.answer, attempt.correct, attempt.reason) == (None, False, "cut_off")


def test_attempts_keep_the_order_of_the_completions_and_equal_answers_run_once() -> None:
    executor = Recorder()
    texts = ["4", "x", "5", "4", " 4 ", "14"]
    attempts = judged(ABDUCTION, *texts, executor=executor)
    assert [a.completion.text for a in attempts] == texts
    assert [a.correct for a in attempts] == [True, False, False, True, True, True]
    [[job]] = executor.asked
    assert list(job.inputs) == ["4", "5", "14"]


@pytest.mark.parametrize("backend", ["mock", "process"])
def test_an_answer_that_never_ends_harms_no_other_answer(backend: str) -> None:
    task = Task(Kind.ABDUCTION, COUNT, ("3",), ("5",))
    with open_executor(backend, workers=1) as executor:
        attempts = judged(task, "7", "100000000000", "0", executor=executor, cpu_s=0.2)  # type: ignore[arg-type]
    assert [a.correct for a in attempts] == [True, False, False]
    assert attempts[1].answer == "100000000000"


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.CRASH, Status.MEMORY])
def test_a_program_that_always_fails_is_asked_for_each_answer_once_more_and_no_further(
    status: Status,
) -> None:
    executor = Recorder({TIMES: status})
    assert [a.correct for a in judged(ABDUCTION, "4", "5", executor=executor)] == [False, False]
    assert [[list(job.inputs) for job in jobs] for jobs in executor.asked] == [[["4", "5"]], [["4"], ["5"]]]


def test_trouble_of_the_executor_is_no_verdict() -> None:
    for task, texts in ((ABDUCTION, ["4", "no"]), (INDUCTION, [ADD + " + 1", "no"])):
        executor = Recorder({TIMES: Status.INFRA, ADD + " + 1": Status.INFRA})
        attempts = judged(task, *texts, executor=executor)
        assert (attempts[0].correct, attempts[0].reason) == (None, "infra")
        assert attempts[1].correct is False
        group = Group(task, "p", tuple(attempts))
        assert group.judged == attempts[1:]
        assert group.solved == 0


def test_a_program_of_the_probe_is_judged_but_not_trained_on() -> None:
    [attempt, other] = judged(INDUCTION, "def f(y):\n    return y + 4 + 0", ADD, executor=Recorder())
    assert (attempt.correct, attempt.trainable) == (True, False)
    assert (other.correct, other.trainable) == (True, True)
    earned = solver_earnings([Group(INDUCTION, "p", (attempt, other))], Selfplay())
    assert [e.completion for e in earned] == [other.completion]


def test_attempts_are_judged_in_waves_and_none_is_lost() -> None:
    tasks = [
        Task(kind, f"def f(x):\n    return x + {i}", ("1",), (str(1 + i),))
        for i in range(30)
        for kind in (Kind.DEDUCTION, Kind.ABDUCTION)
    ]
    template = build_template("compact")
    engine = ScriptedEngine(lambda prompt, u, k: "1" if "abduce" in prompt else str(k))
    with ThreadPoolExecutor(2) as pool:
        solver = Solver(template, engine, MockExecutor(), Limits(), pool)
        requests = [Request(solver.prompt(task), max_tokens=8, n=3, seed=i) for i, task in enumerate(tasks)]
        futures = solver.attempt(tasks, requests)
        groups = {group.task.id: group for future in futures for group in future.result()}
    assert len(futures) > 1
    assert set(groups) == {task.id for task in tasks}
    for i, task in enumerate(tasks):
        group = groups[task.id]
        assert group.prompt == requests[i].prompt == template.solve(task)
        wanted = 3 if task.kind is Kind.ABDUCTION else int(task.outputs[0] in ("1", "2"))
        assert group.solved == wanted
