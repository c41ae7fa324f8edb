"""A sandbox is of use only if honest programs give in it what they give outside, and the same every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from corpora import cruxeval, human_eval, plain_cpython

from azrl.config import Config
from azrl.executor import Executor, Job, Limits, Status, open_executor
from azrl.executor.container.options import Options
from azrl.tasks import judge
from azrl.tasks.gate import Execution, Gate, GateLimits, Observation, Reason
from azrl.tasks.types import Draft, Kind

LIMITS = Limits(cpu_s=5.0)
VARIANTS = (0, 1, 2)


@pytest.fixture(scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    image = request.getfixturevalue("sandbox_image") if request.param == "docker" else ""
    with open_executor(request.param, workers=1, container=Options(image=image, workers=1)) as opened:
        yield opened


def test_cruxeval_is_what_plain_cpython_gives(executor: Executor) -> None:
    rows = cruxeval()
    results = executor.run([Job(program, (call,), LIMITS) for program, call, _ in rows])
    expected = plain_cpython([(program, call) for program, call, _ in rows])
    assert len(rows) == 400
    for (program, call, recorded), result, plain in zip(rows, results, expected, strict=True):
        assert result.status is Status.OK, (program, call, result)
        assert result.outputs[0] == judge.canonical(plain), (program, call)
        assert judge.equal(result.outputs[0], recorded)


def test_human_eval_solutions_pass_their_tests(executor: Executor) -> None:
    problems = human_eval()
    results = executor.run([Job(problem.check, ("",), LIMITS) for problem in problems])
    assert len(problems) == 164
    assert [
        (problem.name, result.status, result.error)
        for problem, result in zip(problems, results, strict=True)
        if result.outputs != ("None",)
    ] == []


def test_human_eval_calls_give_what_plain_cpython_gives(executor: Executor) -> None:
    calls = [(p.program, call) for p in human_eval() for call in p.calls]
    results = executor.run([Job(program, (call,), LIMITS) for program, call in calls])
    expected = plain_cpython(calls)
    assert len(calls) > 900
    for (program, call), result, plain in zip(calls, results, expected, strict=True):
        assert result.outputs[0] == judge.canonical(plain), (program, call, result.error)


def test_no_honest_program_differs_between_interpreters(executor: Executor) -> None:
    """Other hash seeds and layouts, and the first input again at the end of the batch."""
    programs = [(program, (call, call)) for program, call, _ in cruxeval()]
    programs += [(p.program, (*p.calls, p.calls[0])) for p in human_eval() if p.calls]
    jobs = [Job(program, calls, LIMITS, variant) for program, calls in programs for variant in VARIANTS]
    results = executor.run(jobs)
    for at, (program, _) in enumerate(programs):
        runs = [result.outputs for result in results[at * len(VARIANTS) : (at + 1) * len(VARIANTS)]]
        assert runs[0][0] is not None, program
        assert runs[0][0] == runs[0][-1], program
        assert all(run == runs[0] for run in runs), program


def test_the_gate_calls_no_honest_program_nondeterministic(executor: Executor) -> None:
    tasks = Config().tasks
    gate = Gate(
        GateLimits(
            tasks.max_program_chars, tasks.max_value_chars, tasks.check_variants, tasks.induction_pairs, ()
        )
    )

    def execute(executions: Sequence[Execution]) -> list[Observation]:
        results = executor.run([Job(e.program, e.inputs, LIMITS, e.variant) for e in executions])
        return [Observation(r.status.value, r.outputs, r.error) for r in results]

    drafts = [Draft(Kind.DEDUCTION, program, (call,)) for program, call, _ in cruxeval()]
    drafts += [Draft(Kind.DEDUCTION, p.program, p.calls[:1]) for p in human_eval() if p.calls]
    verdicts = gate.admit(drafts, execute)
    assert [v.draft.program for v in verdicts if v.reason is Reason.NONDETERMINISTIC] == []
    assert sum(v.reason is Reason.ADMITTED for v in verdicts) > 250
