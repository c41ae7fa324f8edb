"""The executor's contract: a Job in, a Result out, and nothing that a hostile program says is believed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Status(StrEnum):
    """How a job ended. Only OK carries outputs that may be judged; INFRA is never the program's fault."""

    OK = "ok"  # every input gave a literal, or failed as an ordinary exception (its output is None)
    ERROR = "error"  # the program does not compile, defines no `f`, or every input raised
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASH = "crash"  # killed by a signal or left without answering
    OUTPUT = "output"  # a result too large, or not a literal
    REFUSED = "refused"  # never started: the job itself is malformed or over a limit
    INFRA = "infra"  # the executor's own trouble, after one retry


@dataclass(frozen=True, slots=True)
class Limits:
    """Per-job limits. `cpu_s` is CPU time for the whole job; `wall_s` None means 2 x cpu_s + 0.5."""

    cpu_s: float = 1.0
    wall_s: float | None = None
    memory_mb: int = 256
    output_chars: int = 8192
    source_chars: int = 32768


@dataclass(frozen=True, slots=True)
class Job:
    """Run `f(<input>)` of `program` for each input text, each in a fresh namespace, in one fresh process.

    `variant` picks the interpreter: different variants have different hash seeds and address layouts,
    so equal outputs across variants are evidence of determinism. `fresh`: run it, whatever a cache may hold.
    """

    program: str
    inputs: Sequence[str]
    limits: Limits = field(default_factory=Limits)
    variant: int = 0
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """`outputs[i]` is canonical literal text for input i, or None where that input failed; `error` is a short
    reason (an exception's class name, a limit) that never holds host paths. `cpu_ms` is CPU time spent."""

    status: Status
    outputs: tuple[str | None, ...] = ()
    error: str = ""
    cpu_ms: float = 0.0
    errors: tuple[str, ...] = ()  # per input: "" or the exception's class name


class Executor(Protocol):
    """Runs jobs. Thread-safe; results come in job order."""

    name: str

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Run all jobs and return one Result each, in order. Never raises for what a program does."""
        ...

    def stream(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Result]]:
        """(index, result) of each job, once each, as they finish. Jobs are taken only as fast as results are."""
        ...

    def metrics(self) -> dict[str, float]:
        """Counts since the start, and latencies in milliseconds, by name."""
        ...

    def describe(self) -> dict[str, str]:
        """Active layers of isolation and settings, for `doctor` and the run record."""
        ...

    def close(self) -> None:
        """Stop workers; idempotent. Also a context manager (`with open_executor(...) as ex`)."""
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(self, *exc: object) -> None: ...
