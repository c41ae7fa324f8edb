"""The `process` backend: warm fork servers on this machine, one fork a job."""

from __future__ import annotations

import os
import platform

from azrl.executor.crew import PoolSettings
from azrl.executor.fork_server import ForkServer
from azrl.executor.pooled import PooledExecutor


class ProcessExecutor(PooledExecutor):
    """Runs jobs in forked children of fork servers."""

    name = "process"

    def __init__(self, settings: PoolSettings):
        super().__init__(ForkServer, settings)

    def describe(self) -> dict[str, str]:
        """Settings, layers of isolation in force, and what nothing here holds."""
        return {
            "backend": self.name,
            "workers": str(self.settings.workers),
            "python": platform.python_version(),
            "user": "uid 65534 and below" if os.geteuid() == 0 else "same as the trainer",
            "layers": "one process a job, CPU and wall timers, rlimits on memory, files and processes, "
            "no_new_privs, clean environment",
            "not covered": "system calls that need no descriptor (no seccomp), the kernel",
        }
