"""A sign of life: a line every so often, and a warning when one phase lasts too long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """Where a run is: the step that runs or ran last, of how many; the phase and the monotonic second in
    which it began; seconds left (None before the first step ended); the share of the way done, 0 to 1."""

    step: int
    steps: int
    phase: str
    since: float
    eta_s: float | None
    share: float


def duration(seconds: float | None) -> str:
    """`7s`, `4m10s`, `2h05m`, `3d04h`, or `?` when unknown."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


class Heartbeat:
    """A daemon thread that logs `heartbeat step 12/100 phase=update 3.2s eta 4m10s` every `heartbeat_s`
    seconds, and warns once for each phase that lasts longer than `stall_s` seconds.

    It only reads; a main thread that hangs in C code with the interpreter lock held silences it too.
    """

    def __init__(self, status: Callable[[], Status], heartbeat_s: float, stall_s: float) -> None:
        self._status = status
        self._heartbeat_s = heartbeat_s
        self._stall_s = stall_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        warned_since = -1.0
        next_beat = time.monotonic() + self._heartbeat_s
        while not self._stop.wait(min(self._heartbeat_s, self._stall_s)):
            status, now = self._status(), time.monotonic()
            age = now - status.since
            if now >= next_beat:
                next_beat = now + self._heartbeat_s
                place = f"step {status.step}/{status.steps} phase={status.phase} {age:.1f}s"
                log.info("heartbeat %s eta %s", place, duration(status.eta_s))
            if age > self._stall_s and status.since != warned_since:
                warned_since = status.since
                log.warning(
                    "phase %s of step %d has lasted %s: stalled?", status.phase, status.step, duration(age)
                )
