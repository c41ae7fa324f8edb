"""The gate's executions as jobs: what may share a process, and that nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from azrl.executor import Executor, Job, Limits, Result, open_executor
from azrl.executor.mock import MockExecutor
from azrl.selfplay.execution import observe
from azrl.tasks.gate import Execution, Gate, GateLimits, Observation
from azrl.tasks.types import Draft, Kind

LIMITS = Limits(cpu_s=0.2, wall_s=60.0)  # no load of the machine shows
ENDLESS_ON_EVEN = "def f(x):\n    while x % 2 == 0:\n        pass\n    return x + 1"
LARGE_ABOVE_NINE = "def f(x):\n    return 'a' * (10 ** 6 if x > 9 else 3)"
PICKY = "def f(x):\n    return {1: 'a', 2: 'b'}[x]"


class Counting:
    """Passes on to another executor, and keeps what it was asked."""

    def __init__(self, inner: Executor) -> None:
        self.inner, self.asked = inner, list[list[Job]]()

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        self.asked.append(list(jobs))
        return self.inner.run(jobs)


@pytest.fixture(scope="module", params=["mock", "process"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with open_executor(request.param, workers=1) as opened:
        yield opened


def alone(executor: Executor, execution: Execution) -> Observation:
    """What it comes to where nothing shares its process."""
    [result] = executor.run([Job(execution.program, execution.inputs, LIMITS, execution.variant, fresh=True)])
    return Observation(result.status.value, result.outputs, result.error)


CASES = [
    (PICKY, ("1", "1"), ("2", "3")),
    (PICKY, ("3", "3"), ("1", "2")),  # the inputs fail and the probes do not
    (PICKY, ("3", "4"), ("5",)),
    (ENDLESS_ON_EVEN, ("1", "1"), ("2", "3")),  # a probe does not end
    (ENDLESS_ON_EVEN, ("2", "1"), ("3",)),  # an input does not
    (LARGE_ABOVE_NINE, ("1",), ("10",)),
    (LARGE_ABOVE_NINE, ("10",), ("1",)),
    ("def f(x:", ("1",), ("2",)),
    ("g = 1", ("1",), ("2",)),
]


def test_what_shares_a_process_comes_to_what_it_would_alone(executor: Executor) -> None:
    executions = [
        Execution(program, inputs, variant)
        for program, first, probes in CASES
        for inputs, variant in ((first, 1), (first, 0), (probes, 0))
    ]
    counting = Counting(executor)
    found = observe(counting, LIMITS, executions)  # type: ignore[arg-type]
    assert found == [alone(executor, execution) for execution in executions]
    shared, apart = counting.asked
    assert [len(job.inputs) for job in shared] == [
        count for _, first, probes in CASES for count in (len(first), len(first) + len(probes))
    ]
    assert [job.inputs for job in apart] == [["1", "1"], ["2", "3"], ["2", "1"], ["3"]]
    assert all(job.fresh for job in (*shared, *apart))


def test_a_draft_costs_one_process_an_interpreter() -> None:
    counting = Counting(MockExecutor())
    program = "def f(xs):\n    return xs[::-1] + [7]"
    drafts = [Draft(Kind.DEDUCTION, program, (text,)) for text in ("[1, 2]", "[3]")]
    verdicts = Gate(GateLimits()).admit(drafts, lambda asked: observe(counting, LIMITS, asked))  # type: ignore[arg-type]
    assert [verdict.reason for verdict in verdicts] == ["admitted", "admitted"]
    [jobs] = counting.asked
    assert [job.variant for job in jobs] == [1, 0, 1, 0]


def test_nothing_to_run_is_no_second_call() -> None:
    counting = Counting(MockExecutor())
    assert observe(counting, LIMITS, []) == []  # type: ignore[arg-type]
    assert counting.asked == [[]]
