"""The `process` backend: warm fork servers on this machine, one fork a job."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from azrl.executor.base import Job, Result
from azrl.executor.batch import Batch
from azrl.executor.pool import Pool


class ProcessExecutor:
    """Runs jobs in forked children of fork servers. Thread-safe: threads share the servers."""

    name = "process"

    def __init__(self, workers: int):
        self.workers = workers
        self._pool = Pool(workers)

    def start(self) -> None:
        """Start one server now. Raises UserError saying why it cannot."""
        server = self._pool.wait((0,))
        try:
            server.start()
        finally:
            self._pool.give(server)

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Run all jobs, `workers` at a time for each variant; results in order. RuntimeError once closed."""
        batch = Batch(self._pool, jobs)
        try:
            return batch.run()
        finally:
            batch.abandon()

    def server_pids(self) -> tuple[int, ...]:
        """Process ids of the fork servers that run now."""
        return tuple(server.pid for server in self._pool if server.pid is not None)

    def describe(self) -> dict[str, str]:
        """Settings, layers of isolation in force, and what nothing here holds."""
        uid = next((server.uid for server in self._pool), 0)
        return {
            "backend": self.name,
            "workers": str(self.workers),
            "python": platform.python_version(),
            "user": f"uid {uid} and below" if uid else "same as the trainer",
            "layers": "one process a job, CPU and wall timers, rlimits on memory, files and processes, "
            "no_new_privs, clean environment",
            "not covered": "system calls that need no descriptor (no seccomp), the kernel",
        }

    def close(self) -> None:
        """Stop the servers; idempotent."""
        self._pool.close()

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
