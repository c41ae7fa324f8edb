"""The section `monitors`: what is watched during a run, and what an alarm does."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from azrl.config.section import Section


class Alarm(Section):
    minimum: float | None = None
    maximum: float | None = None
    """The value must stay between these."""
    patience: PositiveInt = 5
    """Steps out of range before the alarm acts."""
    action: Literal["warn", "novelty", "pause"] = "warn"
    """`warn` logs; `novelty` raises the novelty weight; `pause` saves a checkpoint and stops."""


class Monitors(Section):
    window: PositiveInt = 10
    """Steps over which the monitored values are averaged."""
    unique_rate: Alarm = Alarm(minimum=0.6, action="novelty")
    """Unique normalised programs among admitted proposals."""
    admitted: Alarm = Alarm(minimum=0.02, patience=20, action="pause")
    """Share of proposals that the gate admits."""
    program_size: Alarm = Alarm(minimum=0.8)
    """Mean top-level statements of admitted programs."""
    type_mix: Alarm = Alarm(minimum=0.05)
    """Smallest share of any one kind among admitted proposals."""
    entropy: Alarm = Alarm(minimum=0.02)
    """Mean negative log-probability of sampled tokens, in nats."""
    length: Alarm = Alarm(maximum=0.95)
    """Mean response length as a share of max_response_length."""
    format: Alarm = Alarm(minimum=0.5)
    """Share of well-formed solver answers."""
