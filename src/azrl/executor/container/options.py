"""What the configuration says about the container. Imports nothing, so that others can name it cheaply."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """`host`: the daemon's address, None for DOCKER_HOST or the usual socket. `runtime`: None for the daemon's
    own. `memory_mb`: the most that one job may use. `workers`: fork servers of each variant in use."""

    image: str = "azrl-sandbox"
    host: str | None = None
    runtime: str | None = None
    memory_mb: int = 256
    workers: int = 2

    @property
    def servers(self) -> int:
        """The most fork servers at once: the gate asks for up to four variants."""
        return 4 * self.workers

    @property
    def container_mb(self) -> int:
        """Memory of the container: a job on every server at its limit, and the servers themselves."""
        return 256 + self.servers * self.memory_mb

    @property
    def processes(self) -> int:
        """Processes of the container: each server with one child, the relay, and some that are on their way out."""
        return 2 * self.servers + 16

    def cpus(self, cores: int) -> int:
        """Cores of the container: one a worker and one for the relay, of the `cores` there are."""
        return min(self.workers + 1, cores)
