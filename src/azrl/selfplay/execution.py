"""The bridge between the gate, which says what to run, and the executor, which runs it."""

from __future__ import annotations

from collections.abc import Sequence

from azrl.executor import Executor, Job, Limits
from azrl.tasks.gate import Execution, Observation


def observe(executor: Executor, limits: Limits, executions: Sequence[Execution]) -> list[Observation]:
    """Run the gate's executions in one call."""
    jobs = [Job(e.program, e.inputs, limits, e.variant) for e in executions]
    return [Observation(r.status.value, r.outputs, r.error) for r in executor.run(jobs)]


def outputs_of(
    executor: Executor, limits: Limits, jobs: Sequence[tuple[str, Sequence[str]]]
) -> list[Sequence[str | None]]:
    """Outputs of (program, inputs) pairs, None where an input failed: what the tiny world's corpus asks for."""
    results = executor.run([Job(program, inputs, limits) for program, inputs in jobs])
    return [r.outputs or (None,) * len(inputs) for r, (_, inputs) in zip(results, jobs, strict=True)]
