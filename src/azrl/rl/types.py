"""What the learner is given: token sequences with the advantage that each of them earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from azrl.errors import UserError


class NonFinite(UserError):
    """A loss, gradient or input was NaN or infinite. No step was taken on it; the message says where the
    batch was saved."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion: `logprobs` are the sampler's, one per completion token, at the temperature of the rollout;
    `advantage` is per sequence, unless a critic gave each token its own in `token_advantages`. `cell` names
    (kind, role), for the estimator and for metrics."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    advantage: float
    cell: tuple[str, str]
    token_advantages: tuple[float, ...] = ()


class Learner(Protocol):
    """The model that is trained."""

    version: int  # optimizer steps taken

    def update(self, samples: Sequence[Sample], *, seed: int, progress: float = 0.0) -> dict[str, float]:
        """One pass of optimizer steps over the samples; metrics such as loss, grad_norm, entropy, kl. `progress`
        is the share of the run that is over, 0 to 1, for schedules."""
        ...

    def weights(self) -> Mapping[str, Any]:
        """Parameter name to detached tensor, as `Engine.sync` wants them."""
        ...

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probabilities of completion tokens, as `Engine.score`."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything needed to go on bit for bit (weights, optimizer, counters) into `folder`."""
        ...

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; a clear ValueError when the folder is not one of ours or is damaged."""
        ...
