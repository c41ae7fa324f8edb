"""Where the seconds go: each step's wall time, split by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Now(NamedTuple):
    """The phase that is running and the monotonic second in which it began."""

    phase: str
    since: float


class PhaseClock:
    """Measures named phases of the main thread. Phases do not nest; one may recur within a step.

    Its numbers depend on the wall clock, so every metric it gives starts with `time/`.
    """

    def __init__(self) -> None:
        self.now = Now("start", time.monotonic())
        self._lap_began = time.monotonic()
        self._lap: dict[str, float] = {}
        self._elapsed_before = 0.0
        self._began = self._lap_began
        self._running = False

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self._elapsed_before + time.monotonic() - self._began

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block's wall time for `name`. RuntimeError inside another phase."""
        if self._running:
            raise RuntimeError(f"phase {name!r} begins inside phase {self.now.phase!r}")
        self.now = Now(name, time.monotonic())
        self._running = True
        try:
            yield
        finally:
            self._running = False
            spent = time.monotonic() - self.now.since
            self._lap[name] = self._lap.get(name, 0.0) + spent
            self.now = Now("between phases", time.monotonic())

    def lap(self) -> dict[str, float]:
        """End a step: `time/<phase>` of each phase in it, `time/wall` (seconds since the last lap) and
        `time/other` (what of them no phase covers)."""
        now = time.monotonic()
        wall, self._lap_began = now - self._lap_began, now
        spent, self._lap = self._lap, {}
        metrics = {f"time/{name}": seconds for name, seconds in spent.items()}
        metrics["time/other"] = wall - sum(spent.values())
        metrics["time/wall"] = wall
        return metrics

    def state_dict(self) -> dict[str, float]:
        """JSON-able: how long the run has trained."""
        return {"elapsed": self.elapsed}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on counting from a saved run's seconds."""
        self._elapsed_before = float(state["elapsed"])
        self._began = time.monotonic()
