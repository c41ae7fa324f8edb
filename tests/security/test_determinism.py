"""31 programs that depend on more than their input, through the executor and through the gate.

A program passes for deterministic here when all interpreters agree and the first input gives the same twice: what
the gate asks. Policy refuses most of these by name before they run; what runs alone finds is asked too.
"""

from __future__ import annotations

import pytest
from nondeterminism import CONTROLS, CORPUS

from azrl.executor import Executor, Job, Limits, Status, open_executor
from azrl.selfplay.execution import observe
from azrl.tasks.gate import EXTRA_VARIANTS, Gate, GateLimits, Reason
from azrl.tasks.types import Draft, Kind
from azrl.tasks.unordered import suspected

# A clock so coarse that both runs read the same, and what starts alike in every fresh process.
BLIND = {"coarse clock", "garbage counts"}
# These agree by luck at times, or where Python itself lies at a fixed address (Debian's). Of addresses only whole
# pages are drawn anew, so on one build of Python the order of a few types in a set is always the same.
LUCK = {"id", "id bit", "two id bits", "hash bit of a string", "set.pop over three", "hash of a type", "hash of None",
        "order of types in a set"}  # fmt: skip


@pytest.fixture(scope="module")
def executor():
    with open_executor("process", workers=1, cache_entries=100) as opened:
        yield opened


def agrees(executor: Executor, program: str) -> bool:
    """Whether what the gate asks of a program's runs is true of it."""
    variants = 2 + (EXTRA_VARIANTS if suspected(program) else 0)
    results = executor.run([Job(program, ("3", "3"), variant=v, fresh=True) for v in range(variants)])
    outputs = {output for result in results for output in result.outputs}
    return all(r.status is Status.OK for r in results) and len(outputs) == 1


def test_the_corpus_has_its_size() -> None:
    assert (len(CORPUS), len(CONTROLS)) == (31, 3)


@pytest.mark.slow
def test_runs_alone_find_all_but_a_few(executor: Executor) -> None:
    passed = {name for name, program in CORPUS.items() if agrees(executor, program)}
    print(f"pass for deterministic by their runs alone: {sorted(passed)}")
    assert passed <= BLIND | LUCK
    assert len(passed) <= 6
    assert all(agrees(executor, program) for program in CONTROLS.values())


def test_one_interpreter_alone_would_pass_many(executor: Executor) -> None:
    """The control: it is the other interpreters that find them."""
    seeds = [name for name in CORPUS if "string" in name or "set" in name or "hash of bytes" in name]
    for name in seeds:
        [result] = executor.run([Job(CORPUS[name], ("3", "3"), fresh=True)])
        assert len(set(result.outputs)) == 1, name
    assert len(seeds) >= 7


def test_the_gate_admits_none_of_them_but_the_coarse_clock_where_it_is_allowed(executor: Executor) -> None:
    gate = Gate(GateLimits(forbidden_modules=("os", "random", "time", "datetime", "gc")))
    drafts = [Draft(Kind.ABDUCTION, program, ("3",)) for program in CORPUS.values()]
    verdicts = gate.admit(drafts, lambda executions: observe(executor, Limits(), executions))
    reasons = {name: verdict.reason for name, verdict in zip(CORPUS, verdicts, strict=True)}
    assert [name for name, reason in reasons.items() if reason is Reason.ADMITTED] == []
    assert reasons["set order"] is Reason.NONDETERMINISTIC


def test_controls_are_called_deterministic(executor: Executor) -> None:
    gate = Gate(GateLimits())
    drafts = [Draft(Kind.ABDUCTION, program, ("3",)) for program in CONTROLS.values()]
    verdicts = gate.admit(drafts, lambda executions: observe(executor, Limits(), executions))
    assert Reason.NONDETERMINISTIC not in {verdict.reason for verdict in verdicts}


@pytest.mark.parametrize("name", [
    "set order", "text of a set", "set.pop over three", "join of a frozenset", "order of key views", "hash of a type",
    "id bit", "hash bit of a string", "order of types in a set", "random",
])  # fmt: skip
def test_more_interpreters_are_asked_where_luck_is_likely(name: str) -> None:
    assert suspected(CORPUS[name])
    assert not suspected("def f(x):\n    return sorted(x) + [y for y in x if y & 1]")
