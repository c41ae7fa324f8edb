"""One caller's use of the pool: jobs handed over, results handed back, from thread to thread."""

from __future__ import annotations

import threading
from collections import deque

from azrl.executor.base import Result


class Call:
    """`outstanding` counts the jobs that were handed over and whose results the caller has not taken."""

    def __init__(self) -> None:
        self.outstanding = 0
        self.live = True  # False once nobody waits for its results
        self._done: deque[tuple[int, Result]] = deque()
        self._changed = threading.Condition()
        self._wanted = 1
        self._error: BaseException | None = None

    def done(self, index: int, result: Result) -> None:
        """A result, from the pool's thread."""
        with self._changed:
            self._done.append((index, result))
            if len(self._done) >= self._wanted:
                self._changed.notify()

    def fail(self, error: BaseException) -> None:
        """No more results will come: the caller gets `error` instead."""
        with self._changed:
            self._error = error
            self._changed.notify()

    def take(self, wanted: int) -> list[tuple[int, Result]]:
        """At least `wanted` results, waiting for them. Raises what `fail` was given."""
        with self._changed:
            self._wanted = wanted
            while len(self._done) < wanted and self._error is None:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            taken = list(self._done)
            self._done.clear()
        self.outstanding -= len(taken)
        return taken
