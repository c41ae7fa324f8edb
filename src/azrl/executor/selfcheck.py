"""A few jobs with known fates, run before an executor is handed out: a broken limit is found here."""

from __future__ import annotations

from azrl.errors import UserError
from azrl.executor.base import Executor, Job, Limits, Status

_HONEST = Job("def f(x, y=1):\n    return [x] * y", ("'a', 2", "3"))
_CPU = Job("def f():\n    return sum(range(10**13))", ("",), Limits(cpu_s=0.05))
_MEMORY = Job("def f():\n    return len(bytearray(1 << 34))", ("",), Limits(memory_mb=128))
_FORK = Job("import os\ndef f():\n    return os.fork()", ("",))
_FILE = Job("def f():\n    return open('/proc/self/status').read(1)", ("",))


def check(executor: Executor) -> None:
    """Raises UserError naming the first job that did not end as it must."""
    expected = (
        ("an honest program", _HONEST, Status.OK),
        ("the CPU limit", _CPU, Status.TIMEOUT),
        ("the memory limit", _MEMORY, Status.MEMORY),
        ("the limit on processes", _FORK, Status.ERROR),
        ("the limit on files", _FILE, Status.ERROR),
    )
    results = executor.run([job for _, job, _ in expected])
    for (what, _, status), result in zip(expected, results, strict=True):
        if result.status is not status:
            raise UserError(
                f"the {executor.name} executor fails its self-check: {what} gave {result.status.value} "
                f"({result.error or 'no reason'}) where it must give {status.value}"
            )
    if results[0].outputs != ("['a', 'a']", "[3]"):
        raise UserError(
            f"the {executor.name} executor fails its self-check: wrong outputs {results[0].outputs}"
        )
