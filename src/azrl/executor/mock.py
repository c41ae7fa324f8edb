"""The `mock` backend: RestrictedPython inside this process, for smoke tests and canned or tiny models.

It holds clumsy programs, not hostile ones: there is no second process, no memory limit, and an exploit of the
interpreter runs as the trainer. `Limits.cpu_s` buys STEPS_PER_SECOND steps a second, so that what times out
does not depend on the machine; `memory_mb` has no effect beyond the fixed bounds of `bounded`.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from types import CodeType
from typing import Any

from RestrictedPython import Guards, safe_builtins

from azrl.executor import bounded
from azrl.executor.admit import NOT_LITERAL, Admitted, admit
from azrl.executor.base import Job, Result, Status
from azrl.executor.guest import guest_canonical
from azrl.executor.restricted import compile_restricted_program
from azrl.executor.wire import NO_FUNCTION, TOO_LARGE, checked_output, conclude
from azrl.tasks import judge

STEPS_PER_SECOND = 500_000
_REMOVED = (
    *("id", "hash", "setattr", "delattr"),
    *("SystemExit", "KeyboardInterrupt", "BaseException", "GeneratorExit"),
)
_ADDED: tuple[Any, ...] = (
    *(all, any, bin, bytes, dict, enumerate, filter, frozenset, list, map, max, min, next, reversed, set),
    *(sorted, sum, tuple, zip, ascii),
)


class MockExecutor:
    """Runs jobs one after another in this process. Thread-safe by a lock."""

    name = "mock"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Run all jobs; results in order."""
        with self._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser's, about the programs' text
            self._counts["jobs"] += len(jobs)
            return [_run(job) for job in jobs]

    def stream(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Result]]:
        """Results as they are asked for, in order."""
        for index, job in enumerate(jobs):
            yield index, self.run([job])[0]

    def metrics(self) -> dict[str, float]:
        """How many jobs there were."""
        return {"jobs": float(self._counts["jobs"])}

    def describe(self) -> dict[str, str]:
        """What holds, and what does not."""
        return {
            "backend": self.name,
            "layers": "RestrictedPython, step budget, bounded sizes",
            "not covered": "hostile programs: they run inside the trainer",
        }

    def close(self) -> None:
        """Nothing to stop."""

    def __enter__(self) -> MockExecutor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _run(job: Job) -> Result:
    admitted = admit(job)
    if isinstance(admitted, Result):
        return admitted
    start = time.thread_time()

    def failed(status: Status, reason: str) -> Result:
        count = len(job.inputs)
        return Result(status, (None,) * count, reason, (time.thread_time() - start) * 1000, (reason,) * count)

    try:
        code = compile_restricted_program(job.program)
    except MemoryError:  # also how the parser says that nesting is too deep
        return failed(Status.MEMORY, "MemoryError")
    except Exception as error:
        return failed(Status.ERROR, type(error).__name__)
    budget = bounded.Budget(max(int(STEPS_PER_SECOND * admitted.cpu_s), 1), admitted.wall_s)
    try:
        answers = [_answer(code, call, budget, admitted) for call in admitted.calls]
    except bounded.OutOfSteps:
        return failed(Status.TIMEOUT, "step_limit")
    outputs, errors = zip(*answers, strict=True)
    return conclude(outputs, errors, (time.thread_time() - start) * 1000)


def _answer(
    code: CodeType, call: str | None, budget: bounded.Budget, admitted: Admitted
) -> tuple[str | None, str]:
    """Canonical text of one call's value, or why there is none. Raises OutOfSteps."""
    if call is None:
        return None, NOT_LITERAL
    values, keywords = judge.call(call, max_chars=len(call))
    namespace = _namespace(budget)
    try:
        exec(code, namespace)
        function = namespace.get("f")
        if not callable(function):
            return None, NO_FUNCTION
        value = function(*values, **keywords)
    except Exception as error:
        name = type(error).__name__
        return None, name if name.isidentifier() else "Exception"
    finally:
        budget.tick()
    guest, max_chars = guest_canonical(), admitted.job.limits.output_chars
    try:
        return checked_output(guest.canonical(value, max_chars), max_chars)
    except guest.TooLarge:
        return None, TOO_LARGE
    except guest.NotLiteral:
        return None, NOT_LITERAL


def _namespace(budget: bounded.Budget) -> dict[str, Any]:
    """Globals for one run."""
    builtins = {name: value for name, value in safe_builtins.items() if name not in _REMOVED}
    builtins |= {value.__name__: value for value in _ADDED}
    builtins |= {
        "__import__": bounded.bounded_import,
        "range": bounded.bounded_range,
        "pow": bounded.bounded_pow,
    }
    return {
        "__builtins__": builtins,
        "__name__": "__task__",
        "__metaclass__": type,
        "_tick_": budget.tick,
        "_getiter_": budget.iterate,
        "_binop_": bounded.binop,
        "_inplacevar_": bounded.inplace,
        "_augitem_": bounded.augitem,
        "_spread_": bounded.spread,
        "_getattr_": bounded.bounded_getattr,
        "_getitem_": lambda target, key: target[key],
        "_write_": bounded.writable,
        "_apply_": lambda function, *values, **keywords: function(*values, **keywords),
        "_iter_unpack_sequence_": Guards.guarded_iter_unpack_sequence,
        "_unpack_sequence_": Guards.guarded_unpack_sequence,
        "_print_": _Silence,
    }


class _Silence:
    """Takes what a program prints and drops it."""

    def __init__(self, getattr_: object = None):
        pass

    def _call_print(self, *values: object, **options: object) -> None:
        pass
