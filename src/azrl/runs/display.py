"""What the user watches: a live panel on a terminal, one plain line a step anywhere else."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live

from azrl.runs.clock import PhaseClock
from azrl.runs.heartbeat import Heartbeat, Status
from azrl.runs.panel import line, panel

log = logging.getLogger(__name__)

_LINE_EVERY_S = 1.0
_STEPS_TIMED = 20
_ALARMS_SHOWN = 3


class Display:
    """Shows progress and keeps the heartbeat while its `with` block runs.

    with Display(steps=100, heartbeat_s=30, stall_s=600) as display:
        with display.phase("generate"): ...
        display.show(step, metrics)
    """

    def __init__(
        self,
        *,
        steps: int,
        heartbeat_s: float,
        stall_s: float,
        time_limit_s: float | None = None,
        clock: PhaseClock | None = None,
        console: Console | None = None,
    ) -> None:
        """`steps` is the absolute target."""
        self.clock = clock or PhaseClock()
        self.console = console or Console()
        self._steps = steps
        self._step = 0
        self._time_limit_s = time_limit_s
        self._metrics: Mapping[str, float] = {}
        self._alarms: deque[str] = deque(maxlen=_ALARMS_SHOWN)
        self._step_ends: deque[float] = deque([time.monotonic()], maxlen=_STEPS_TIMED + 1)
        self._last_line = -_LINE_EVERY_S
        self._unprinted = False
        self._heartbeat = Heartbeat(self.status, heartbeat_s, stall_s)
        self._live: Live | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Display:
        self._step_ends[0] = time.monotonic()
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(console=self.console, get_renderable=self._panel, refresh_per_second=2)
            self._stack.enter_context(self._live)
        self._stack.enter_context(self._heartbeat)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if self._unprinted:
            self._print_line()

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Time a block as phase `name`; the display and the heartbeat name it meanwhile."""
        return self.clock.phase(name)

    def go_on(self, step: int, trained_s: float) -> None:
        """Say what a resumed run has behind it: steps, and seconds of training."""
        self._step = step
        self.clock.load_state_dict({"elapsed": trained_s})

    def show(self, step: int, metrics: Mapping[str, float]) -> None:
        """A step ended. Off a terminal, lines come at most one a second; the last one always comes."""
        self._step = step
        self._metrics = dict(metrics)
        self._step_ends.append(time.monotonic())
        if self._live:
            self._live.refresh()
            return
        self._unprinted = True
        if time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._print_line()

    def alarm(self, message: str) -> None:
        """Log a warning and keep it in view."""
        log.warning("alarm: %s", message)
        self._alarms.append(message)

    def status(self) -> Status:
        """Where the run is now. Safe to call from another thread."""
        now, ends = self.clock.now, list(self._step_ends)
        share, eta_s = self._step / self._steps, None
        if len(ends) > 1:
            eta_s = (ends[-1] - ends[0]) / (len(ends) - 1) * (self._steps - self._step)
        if self._time_limit_s is not None:
            elapsed = self.clock.elapsed
            left = max(0.0, self._time_limit_s - elapsed)
            share = max(share, min(1.0, elapsed / self._time_limit_s))
            eta_s = left if eta_s is None else min(eta_s, left)
        return Status(self._step, self._steps, now.phase, now.since, eta_s, share)

    def _panel(self) -> RenderableType:
        status = self.status()
        return panel(status, time.monotonic() - status.since, self._metrics, list(self._alarms))

    def _print_line(self) -> None:
        self._unprinted = False
        self._last_line = time.monotonic()
        text = line(self.status(), self._metrics)
        self.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
