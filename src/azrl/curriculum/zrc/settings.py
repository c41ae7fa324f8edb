"""Every number of the zero-resource curriculum, with its unit and default, checked once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    """Values are checked when made: a ValueError names the setting, its value and what it must be.

    A step is one call of `record_outcomes`. Where the paper (Zero-Resource Curriculum Reinforcement Learning
    for LLMs) fixes a value it stands in `PRESETS["paper"]`.
    """

    half_life: float = 12.0
    """Steps in which a recorded rollout loses half its weight in solve rates."""
    recent_half_life: float = 4.0
    """The same for the recent window, which progress compares with what came before it."""
    prior_strength: float = 4.0
    """Rollouts that the mean of its cluster counts for in a task's solve rate."""
    guess_strength: float = 8.0
    """Rollouts that a difficulty given at registration counts for; it fades like any evidence."""
    verification_weight: float = 0.25
    """beta in d = (1 - beta)(1 - a) + beta v: the share of verification failures in difficulty."""

    dimensions: int = 16
    """Principal components kept of the embeddings."""
    difficulty_weight: float = 0.15
    """Share of difficulty in a task's features (by variance); 1 when tasks have no embeddings."""
    clusters: int = 8
    """Clusters to aim at where the features show no gap of their own."""
    penalty: float | None = None
    """lambda of DP-means, a squared distance; None chooses it from the features."""
    min_size: int = 2
    """Clusters with fewer tasks are dissolved."""

    hazard: float = 0.005
    """Prior probability of a change in a step."""
    window: int = 5
    """Steps: a change is announced by P(run length <= window)."""
    soft_threshold: float = 0.7
    """Above this probability tasks are reassigned to the centroids there are."""
    hard_threshold: float = 0.9
    """Above this one they are clustered anew."""
    correlation: float = 0.2
    """Prior guess of the correlation between two rollouts' successes on one task; change points assume no less."""
    min_steps: int = 20
    """Steps between two re-clusterings; a change seen earlier waits."""

    stabilisation_steps: int = 20
    """Steps in which the old distribution over tasks fades into the new one."""
    kl_base: float = 0.001
    """KL penalty outside of stabilisation. A trainer that needs a reference model must start with more than 0."""
    kl_scale: float = 2.0
    """What the penalty is multiplied by right after a re-clustering."""

    rule: str = "thompson"
    """How clusters are chosen: `thompson` or `ucb`."""
    samples: int = 256
    """Posterior samples behind the probabilities of `thompson`."""
    confidence: float = 0.2
    """Factor of the bonus of `ucb`."""
    temperature: float = 0.05
    """Of the softmax of `ucb`."""
    progress_threshold: float = 0.04
    """Radians on the arcsine scale: a rate that moved less makes no progress. 0.04 is 4 points at a half."""
    progress_floor: float = 0.1
    """Factor on learnability where there is no progress at all."""
    floor: float = 0.05
    """Share of the draws that is spread evenly over all tasks."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "rule" or (field.name == "penalty" and value is None):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"{field.name} must be a finite number, got {value!r}")
            if field.name in _WHOLE and (value != int(value) or value < 1):
                raise ValueError(f"{field.name} must be a whole number of at least 1, got {value!r}")
            if field.name in _POSITIVE and value <= 0:
                raise ValueError(f"{field.name} must be above 0, got {value!r}")
            if field.name in _SHARES and not 0 <= value <= 1:
                raise ValueError(f"{field.name} must lie between 0 and 1, got {value!r}")
        if self.penalty is not None and self.penalty <= 0:
            raise ValueError(f"penalty must be above 0 or None, got {self.penalty!r}")
        if self.rule not in ("thompson", "ucb"):
            raise ValueError(f"rule must be 'thompson' or 'ucb', got {self.rule!r}")
        if not 0 < self.hazard < 1:
            raise ValueError(f"hazard must lie strictly between 0 and 1, got {self.hazard!r}")
        if self.kl_base < 0 or self.kl_scale < 1:
            raise ValueError(
                f"kl_base must be at least 0 and kl_scale at least 1, got {self.kl_base!r} and {self.kl_scale!r}"
            )
        if self.confidence < 0:
            raise ValueError(f"confidence must be at least 0, got {self.confidence!r}")
        if self.recent_half_life >= self.half_life:
            raise ValueError(
                f"recent_half_life {self.recent_half_life} must be shorter than half_life {self.half_life}"
            )
        if self.soft_threshold > self.hard_threshold:
            raise ValueError(
                f"soft_threshold {self.soft_threshold} must not exceed hard_threshold {self.hard_threshold}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from names and values; ValueError for a name that does not exist."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown settings {', '.join(unknown)}; there is {', '.join(sorted(known))}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, as JSON can hold them."""
        return dataclasses.asdict(self)


_WHOLE = {"dimensions", "clusters", "min_size", "window", "min_steps", "stabilisation_steps", "samples"}
_POSITIVE = {
    "half_life",
    "recent_half_life",
    "prior_strength",
    "guess_strength",
    "temperature",
    "progress_threshold",
}
_SHARES = {
    "verification_weight",
    "difficulty_weight",
    "soft_threshold",
    "hard_threshold",
    "correlation",
    "progress_floor",
    "floor",
}

PRESETS: dict[str, Settings] = {
    "default": Settings(),
    "paper": Settings(
        verification_weight=0.5,
        difficulty_weight=0.5,
        penalty=0.5,
        hazard=0.01,
        soft_threshold=0.6,
        min_steps=100,
        stabilisation_steps=50,
    ),
}
"""Settings by name. `paper` has the published thresholds and windows; the methods stay those described here."""
