"""The proofs that engine and learner are one model: on probe tokens after each sync, on rollouts at each update.

A stale or mislabelled layer leaves samples that look sane and a gradient that is wrong, so a run that
cannot show agreement stops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from azrl.errors import UserError


class SyncMismatch(UserError):
    """Engine and learner disagree beyond tolerance; the message holds the numbers."""


def prove_rollouts(mismatch_kl: float, limit: float) -> None:
    """SyncMismatch when the divergence between what sampled the rollouts and what trained on them (nats a token)
    is beyond `limit` or no number."""
    if not mismatch_kl <= limit:
        raise SyncMismatch(
            f"the rollouts were not sampled from the model that learns from them: mismatch KL {mismatch_kl:.3g} "
            f"nats a token (engine.mismatch_limit {limit:.3g})"
        )


def prove_sync(
    engine_scores: Sequence[Sequence[float]],
    learner_scores: Sequence[Sequence[float]],
    *,
    worst: float,
    mean: float,
) -> dict[str, float]:
    """Compare log-probabilities (nats) of the same probe tokens, sequence by sequence.

    A gap counts relative to the log-probability where that is beyond one nat, as rounding does. Returns `worst`
    and `mean` gap and the number of `tokens`. Raises SyncMismatch when either is beyond its tolerance or not
    finite, ValueError when the shapes differ or there is nothing to compare.
    """
    if [len(scores) for scores in engine_scores] != [len(scores) for scores in learner_scores]:
        raise ValueError("engine and learner scored different tokens")
    gaps = [
        abs(ours - theirs) / max(1.0, abs(theirs))
        for mine, other in zip(engine_scores, learner_scores, strict=True)
        for ours, theirs in zip(mine, other, strict=True)
    ]
    if not gaps:
        raise ValueError("a sync cannot be proved on no tokens")
    finite = all(math.isfinite(gap) for gap in gaps)
    seen_worst, seen_mean = (max(gaps), sum(gaps) / len(gaps)) if finite else (math.nan, math.nan)
    if not (seen_worst <= worst and seen_mean <= mean):
        raise SyncMismatch(
            f"engine and learner disagree after a sync: log-probabilities differ by {seen_worst:.3g} at worst "
            f"(tolerance {worst:.3g}) and {seen_mean:.3g} on average (tolerance {mean:.3g}) over {len(gaps)} "
            "tokens; engine.sync_tolerance sets both tolerances"
        )
    return {"worst": seen_worst, "mean": seen_mean, "tokens": float(len(gaps))}
