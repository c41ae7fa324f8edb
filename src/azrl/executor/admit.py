"""Checks a job on the trusted side before anything runs: limits, sizes, and inputs that are only literals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from azrl.executor import plain
from azrl.executor.base import Job, Result, Status
from azrl.tasks import judge

MAX_INPUTS = 10_000
MAX_INPUT_CHARS = 4 << 20  # of one job's inputs together
MAX_SECONDS = 3600.0
VARIANTS = range(64)
NOT_LITERAL = "not_literal"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A job that may run. `calls[i]` is canonical argument text, or None where input i is no pure literal;
    times are in seconds, memory in bytes."""

    job: Job
    calls: tuple[str | None, ...]
    cpu_s: float
    wall_s: float
    memory: int


def refused(job: Job, reason: str) -> Result:
    """The result of a job that never starts."""
    count = len(job.inputs) if isinstance(job.inputs, (list, tuple)) else 0
    return Result(Status.REFUSED, (None,) * count, reason, 0.0, (reason,) * count)


def admit(job: Job) -> Admitted | Result:
    """The job with its inputs checked, or its REFUSED result."""
    try:
        reason = _malformed(job)
    except (AttributeError, TypeError):  # a field that is of no such kind at all
        reason = "malformed"
    if reason:
        return refused(job, reason)
    calls = tuple(map(_arguments, job.inputs))
    if not any(call is not None for call in calls):
        return refused(job, NOT_LITERAL)
    limits = job.limits
    wall_s = 2 * limits.cpu_s + 0.5 if limits.wall_s is None else limits.wall_s
    return Admitted(job, calls, limits.cpu_s, wall_s, int(limits.memory_mb * 2**20))


def _arguments(text: str) -> str | None:
    if len(text) > plain.MAX_CHARS:
        return _parsed(text)
    return text if plain.arguments(text) else _short_arguments(text)


def _parsed(text: str) -> str | None:
    try:
        return judge.arguments(text)
    except judge.NotLiteral:
        return None


_short_arguments = lru_cache(maxsize=1 << 12)(_parsed)  # the same inputs run in several interpreters


def _malformed(job: Job) -> str:
    limits = job.limits
    wall_s = 1.0 if limits.wall_s is None else limits.wall_s
    if not (_within(limits.cpu_s, MAX_SECONDS) and _within(wall_s, MAX_SECONDS)):
        return "time_limit"
    if not 0 < limits.memory_mb <= 1 << 20:
        return "memory_limit"
    if not 0 < limits.output_chars <= judge.MAX_CHARS:
        return "output_limit"
    if job.variant not in VARIANTS:
        return "variant"
    if not isinstance(job.program, str) or not isinstance(job.inputs, (list, tuple)):
        return "malformed"
    if len(job.program) > limits.source_chars:
        return "source_chars"
    if not job.inputs:
        return "no_inputs"
    if not all(isinstance(text, str) for text in job.inputs):
        return "malformed"
    if len(job.inputs) > MAX_INPUTS or sum(map(len, job.inputs)) > MAX_INPUT_CHARS:
        return "too_many_inputs"
    return ""


def _within(seconds: float, most: float) -> bool:
    return math.isfinite(seconds) and 0 < seconds <= most
