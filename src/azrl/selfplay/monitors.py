"""Collapse alarms: a self-play run can go wrong while its reward goes up, so these watch something else.

Each signal is averaged over a window. Its alarm rings once the average has been out of range for `patience`
steps in a row, and is quiet (ready to ring again) once it has been back in range for as many: values that
hover around a bound neither ring it nor re-arm it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azrl.config.monitors import Alarm
from azrl.config.monitors import Monitors as MonitorsConfig

SIGNALS = ("unique_rate", "admitted", "program_size", "type_mix", "entropy", "length", "format")


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """An alarm began to ring: the windowed value, the bound it crossed, and what the config wants done."""

    name: str
    value: float
    bound: float
    action: str

    def __str__(self) -> str:
        side = "below" if self.value < self.bound else "above"
        return f"{self.name} {self.value:.3g} is {side} {self.bound:g} (action: {self.action})"


@dataclass(slots=True)
class _Watch:
    """One signal: its recent values, whether it rings, and for how many steps it has said the opposite."""

    values: deque[float]
    ringing: bool = False
    streak: int = 0

    def observe(self, value: float, alarm: Alarm) -> tuple[float, float] | None:
        """Take one value; (mean, crossed bound) when the alarm begins to ring."""
        self.values.append(value)
        mean = math.fsum(self.values) / len(self.values)
        bound = _crossed(mean, alarm)
        if (bound is not None) == self.ringing:
            self.streak = 0
            return None
        self.streak += 1
        if self.streak < alarm.patience:
            return None
        self.ringing, self.streak = not self.ringing, 0
        return None if bound is None else (mean, bound)


class Monitors:
    """Watches the signals in `SIGNALS`, each with its `Alarm` of the same name in the config."""

    def __init__(self, config: MonitorsConfig, max_response_length: int) -> None:
        self._alarms: dict[str, Alarm] = {name: getattr(config, name) for name in SIGNALS}
        self._window = config.window
        self._max_response_length = max_response_length
        self._watches = {name: _Watch(deque(maxlen=self._window)) for name in SIGNALS}

    @property
    def ringing(self) -> frozenset[str]:
        """Names of the alarms that ring now."""
        return frozenset(name for name, watch in self._watches.items() if watch.ringing)

    def observe(self, step: int, signals: Mapping[str, float]) -> list[AlarmEvent]:
        """Take one step's signals; the alarms that begin to ring with it.

        `length` is the mean response length in tokens and is compared as a share of the longest allowed.
        A signal that is missing or not finite (nothing was admitted, say) leaves its alarm as it is.
        ValueError for a name that nothing watches.
        """
        if unknown := set(signals) - set(SIGNALS):
            raise ValueError(f"step {step}: no alarm watches {', '.join(sorted(unknown))}")
        events = []
        for name, value in signals.items():
            if not math.isfinite(value):
                continue
            scaled = value / self._max_response_length if name == "length" else value
            alarm = self._alarms[name]
            if rung := self._watches[name].observe(scaled, alarm):
                events.append(AlarmEvent(name, *rung, alarm.action))
        return events

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; `load_state_dict` goes on from it exactly."""
        return {
            name: {"values": list(watch.values), "ringing": watch.ringing, "streak": watch.streak}
            for name, watch in self._watches.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`. ValueError when it is not one."""
        if set(state) != set(SIGNALS):
            raise ValueError(f"not a state of the monitors: it has {sorted(state)}, not {sorted(SIGNALS)}")
        self._watches = {
            name: _Watch(deque(saved["values"], maxlen=self._window), saved["ringing"], saved["streak"])
            for name, saved in state.items()
        }


def _crossed(mean: float, alarm: Alarm) -> float | None:
    if alarm.minimum is not None and mean < alarm.minimum:
        return alarm.minimum
    if alarm.maximum is not None and mean > alarm.maximum:
        return alarm.maximum
    return None
