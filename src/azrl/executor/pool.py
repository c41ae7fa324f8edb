"""Lends fork servers to threads: one job on a server at a time, first come first served."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator

from azrl.executor.server import ForkServer

_UIDS = 500


class Pool:
    """`workers` servers for each variant, made when first asked for."""

    def __init__(self, workers: int):
        self._workers = workers
        self._free: dict[int, deque[ForkServer]] = {}
        self._all: list[ForkServer] = []
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self.closed = False

    def __iter__(self) -> Iterator[ForkServer]:
        return iter(tuple(self._all))

    def take(self, variants: Iterable[int]) -> ForkServer | None:
        """A free server of one of `variants`, or None if there is none now or another thread came first."""
        with self._changed:
            return None if self._waiting else self._pick(variants)

    def wait(self, variants: Iterable[int]) -> ForkServer:
        """A server of one of `variants`, waiting for it. Raises RuntimeError once the pool is closed."""
        variants = tuple(variants)
        with self._changed:
            ticket = object()
            self._waiting.append(ticket)
            try:
                while True:
                    if self._waiting[0] is ticket and (server := self._pick(variants)):
                        return server
                    self._changed.wait()
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def give(self, server: ForkServer) -> None:
        """Take a server back."""
        with self._changed:
            if self.closed:
                server.stop()
            else:
                self._free[server.variant].append(server)
            if self._waiting:
                self._changed.notify_all()

    def close(self) -> None:
        """Stop the free servers now and the lent ones as they come back; idempotent."""
        with self._changed:
            self.closed = True
            for free in self._free.values():
                while free:
                    free.pop().stop()
            self._changed.notify_all()

    def _pick(self, variants: Iterable[int]) -> ForkServer | None:
        if self.closed:
            raise RuntimeError("the executor is closed")
        for variant in variants:
            if variant not in self._free:
                slots = range(len(self._all), len(self._all) + self._workers)
                made = [ForkServer(variant, slot % _UIDS) for slot in slots]
                self._all += made
                self._free[variant] = deque(made)
            if self._free[variant]:
                return self._free[variant].popleft()
        return None
