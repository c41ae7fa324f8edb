"""The `process` backend: warm fork servers on this machine, one fork a job."""

from __future__ import annotations

import platform
from collections.abc import Collection
from functools import partial

from azrl.executor.crew import PoolSettings
from azrl.executor.fork_server import ForkServer
from azrl.executor.layers import MINIMUM, Promise
from azrl.executor.pooled import PooledExecutor


class ProcessExecutor(PooledExecutor):
    """Runs jobs in forked children of fork servers.

    No server starts that lacks a layer of `minimum`. `without` leaves inner layers out: for tests that must
    see an attack succeed, and for measuring what a layer costs; nothing in the configuration reaches it.
    """

    name = "process"

    def __init__(
        self, settings: PoolSettings, *, minimum: Collection[str] = MINIMUM, without: Collection[str] = ()
    ):
        self._promise = Promise(minimum)
        super().__init__(partial(ForkServer, promise=self._promise, without=without), settings)

    def describe(self) -> dict[str, str]:
        """Settings, the layers of isolation in force and those missing, and what nothing here holds."""
        return super().describe() | {
            "python": platform.python_version(),
            **self._promise.describe(),
            "not covered": "bugs of the kernel, side channels of the processor, memory of all jobs together",
        }
