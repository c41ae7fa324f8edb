"""The bridge between the gate, which says what to run, and the executor, which runs it."""

from __future__ import annotations

from collections.abc import Sequence

from azrl.executor import Executor, Job, Limits
from azrl.tasks.gate import Execution, Observation


def observe(executor: Executor, limits: Limits, executions: Sequence[Execution]) -> list[Observation]:
    """Run the gate's executions in one call; never from a cache, for to run again is the point."""
    jobs = [Job(e.program, e.inputs, limits, e.variant, fresh=True) for e in executions]
    return [Observation(r.status.value, r.outputs, r.error) for r in executor.run(jobs)]
