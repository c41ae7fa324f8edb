"""The bridge between the gate, which says what to run, and the executor, which runs it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise

from azrl.executor import Executor, Job, Limits, Result, Status
from azrl.executor.wire import conclude
from azrl.tasks.gate import Execution, Observation

_ENDED_BY_ITSELF = (Status.OK, Status.ERROR, Status.OUTPUT)


def observe(executor: Executor, limits: Limits, executions: Sequence[Execution]) -> list[Observation]:
    """Run the gate's executions in one call; never from a cache, for to run again is the point.

    Neighbours that ask for the same program in the same interpreter share a process, one after the other. Where that
    process does not end by itself, each runs once more in one of its own, so that none suffers from another.
    """
    groups = [list(group) for _, group in groupby(executions, key=lambda e: (e.program, e.variant))]
    results = executor.run([_job(group, limits) for group in groups])
    whole = [r.status in _ENDED_BY_ITSELF or len(g) == 1 for g, r in zip(groups, results, strict=True)]
    apart = [e for group, fine in zip(groups, whole, strict=True) if not fine for e in group]
    again = iter(executor.run([_job([e], limits) for e in apart]) if apart else ())
    found: list[Result] = []
    for group, result, fine in zip(groups, results, whole, strict=True):
        found += _parts(group, result) if fine else [next(again) for _ in group]
    return [Observation(r.status.value, r.outputs, r.error) for r in found]


def _job(group: Sequence[Execution], limits: Limits) -> Job:
    inputs = [text for execution in group for text in execution.inputs]
    return Job(group[0].program, inputs, limits, group[0].variant, fresh=True)


def _parts(group: Sequence[Execution], result: Result) -> list[Result]:
    """What each execution would have come to in a process of its own."""
    if len(group) == 1:
        return [result]
    ends = accumulate((len(execution.inputs) for execution in group), initial=0)
    return [conclude(result.outputs[a:b], result.errors[a:b], result.cpu_ms) for a, b in pairwise(ends)]
