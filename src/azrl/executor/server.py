"""The seam between the pool and a backend: what the pool asks of a server, and nothing about how it was started.

A backend gives the pool a `Launcher`. The pool never asks what is behind a server: an interpreter on this
machine, or one inside a container at the far end of a stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from azrl.executor.wire import Ended


class ServerLost(Exception):
    """The server is gone, or speaks nonsense; whatever it was doing has no answer."""


class Server(Protocol):
    """A fork server: one job at a time, used by one thread, startable again after a loss. No call waits.

    `window`: jobs that it may have been given and not yet answered. It runs them one after the other and answers
    in that order; `tend` and `kill_child` mean the first of them.
    """

    variant: int
    window: int

    @property
    def pid(self) -> int | None:
        """Process id on this machine while it runs and has one, else None."""
        ...

    def begin(self) -> None:
        """Start it, without waiting until it is up. Raises UserError saying why it cannot."""
        ...

    def ready(self) -> bool:
        """Whether it has greeted since `begin`. Raises UserError with the server's own reason if it failed."""
        ...

    def fileno(self) -> int:
        """Descriptor that polls readable when `ready` or `receive` has something to do; fixed from `begin` to
        `stop`."""
        ...

    def submit(self, request: bytes, payload: bytes, cap: int, more: bool = False) -> None:
        """Run a job (`wire.request`, `wire.payload`) whose honest answer has at most `cap` bytes. `more`: another
        follows at once, for which this one may wait. ServerLost."""
        ...

    def tend(self) -> None:
        """The job has run for a while: from now on read its answer as it comes."""
        ...

    def receive(self) -> Ended | None:
        """How the first job ended, or None while it runs. Raises ServerLost, also when no job runs."""
        ...

    def kill_child(self) -> None:
        """Have the server kill the child that it waits for, if any."""
        ...

    def kill(self) -> None:
        """Kill a server that does not answer; `receive` then reports the loss."""
        ...

    def stop(self) -> None:
        """Stop it, and with it its child; safe to call at any time."""
        ...


Launcher = Callable[[int, int], Server]
"""Makes a server that is not started yet, of a variant (equal variants have equal hash seeds, others do not) and
a slot (a number that no other server of the pool has, for a user of its own)."""
