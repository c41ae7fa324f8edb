"""The `docker` backend: the fork servers of `process`, in one hardened container, behind one attached stream."""

from __future__ import annotations

from collections.abc import Collection

from azrl.executor.container.box import Box
from azrl.executor.container.options import Options
from azrl.executor.container.server import ContainerServer
from azrl.executor.crew import PoolSettings
from azrl.executor.layers import MINIMUM, Promise
from azrl.executor.pooled import PooledExecutor


class DockerExecutor(PooledExecutor):
    """Runs jobs in the container. Making it removes containers that dead trainers have left behind, and starts
    its own. No server starts that lacks a layer of `minimum` inside the container; `without` leaves inner layers
    out, for tests and measurements alone. Raises UserError.
    """

    name = "docker"

    def __init__(
        self,
        settings: PoolSettings,
        options: Options,
        *,
        minimum: Collection[str] = MINIMUM,
        without: Collection[str] = (),
    ):
        self._promise = Promise(minimum)
        self.box = Box(options)
        try:
            self.box.sweep()
            self.box.link()
        except BaseException:
            self.box.close()
            raise
        super().__init__(
            lambda variant, slot: ContainerServer(self.box, variant, self._promise, without), settings
        )

    def describe(self) -> dict[str, str]:
        """Settings, layers of isolation in force as seen from inside, and what nothing here holds."""
        return super().describe() | {
            **self.box.describe(),
            **self._promise.describe(),
            "not covered": "bugs of the kernel, which host and container share (a runtime such as runsc has its "
            "own), and side channels of the processor",
        }

    def close(self, drain_s: float = 10.0) -> None:
        """As for any pool; then the container is removed."""
        super().close(drain_s)
        self.box.close()
