"""An executor over any kind of server: the backends `process` and `docker` differ in their launcher alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from azrl.errors import UserError
from azrl.executor import canary
from azrl.executor.base import Job, Result, Status
from azrl.executor.crew import PoolSettings
from azrl.executor.server import Launcher
from azrl.executor.supervisor import Supervisor

_WINDOW = 16  # jobs under way for each worker of a stream: enough to keep it busy, few enough to bound memory


class PooledExecutor:
    """Runs jobs on a pool of servers. Thread-safe: callers share them, first come first served."""

    name = "pooled"

    def __init__(self, launch: Launcher, settings: PoolSettings):
        self.settings = settings
        self.chosen = ""
        """Why `auto` took this one; empty if it was asked for by name."""
        self._supervisor = Supervisor(launch, settings)

    def start(self) -> None:
        """Start one server now. Raises UserError saying why it cannot."""
        job, expected = canary.draw(0)
        [result] = self.run([job])
        if result.status is Status.INFRA:
            raise UserError(self._supervisor.crew.start_error or f"no server works: {result.error}")
        if not canary.passes(result, expected):
            raise UserError(f"a first job ended as {result.status} ({result.error}); it must give {expected}")

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Run all jobs; results in order. RuntimeError once closed."""
        call = self._supervisor.open()
        try:
            for index, job in enumerate(jobs):
                self._supervisor.add(call, index, job)
            return [result for _, result in sorted(call.take(len(jobs)), key=lambda found: found[0])]
        finally:
            self._supervisor.end(call)

    def stream(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Result]]:
        """(index, result) of each job, once each, as they finish.

        Back-pressure: `jobs` is read only while fewer than 16 a worker have results that are not taken. A
        result is given once a later canary of its server was right: a second later at most, or
        when the job that runs then is done. Closing the generator drops the rest.
        """
        window = _WINDOW * self.settings.workers
        call = self._supervisor.open()
        try:
            left = enumerate(jobs)
            while True:
                while call.outstanding < window and (item := next(left, None)) is not None:
                    self._supervisor.add(call, *item)
                if not call.outstanding:
                    return
                yield from call.take(1)
        finally:
            self._supervisor.end(call)

    def metrics(self) -> dict[str, float]:
        """Counts since the start, and percentiles in milliseconds; see `PoolMetrics`."""
        return self._supervisor.read()

    def describe(self) -> dict[str, str]:
        """What every backend says of itself; each adds its layers of isolation."""
        chosen = {"chosen": self.chosen} if self.chosen else {}
        return {"backend": self.name, **chosen, "workers": str(self.settings.workers)}

    def server_pids(self) -> tuple[int, ...]:
        """Process ids of the servers that run now."""
        workers = self._supervisor.crew.workers()
        return tuple(pid for worker in workers if (pid := worker.server.pid) is not None)

    def close(self, drain_s: float = 10.0) -> None:
        """Refuse new calls, let open ones finish for `drain_s` seconds, stop the servers; idempotent."""
        self._supervisor.close(drain_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
