"""How hard a task is for this model now: solve rates from fading Beta posteriors, and failed verifications.

Needs no labels of difficulty and, by majority vote, no verifier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def cluster_rates(clusters: Mapping[str, Floats], strength: float) -> Floats:
    """Posterior mean solve rate of each cluster, float64[K]: its own rollouts (guesses among them) and, worth
    `strength` rollouts, the rate of all clusters, which itself starts at a half."""
    won = clusters["won"] + clusters["guess_won"]
    tried = clusters["tried"] + clusters["guessed"]
    overall = (won.sum() + 0.5 * strength) / (tried.sum() + strength)
    return np.asarray((won + strength * overall) / (tried + strength))


def solve_rates(tasks: Mapping[str, Floats], prior_mean: Floats, strength: float) -> Floats:
    """Posterior mean solve rate of each task, float64[N]: the Beta prior has its cluster's mean and is worth
    `strength` rollouts, so an unseen task has the rate of its cluster (empirical Bayes)."""
    won = tasks["won"] + tasks["guess_won"]
    tried = tasks["tried"] + tasks["guessed"]
    return np.asarray((won + strength * prior_mean) / (tried + strength))


def intrinsic(tasks: Mapping[str, Floats], rates: Floats, weight: float, strength: float) -> Floats:
    """d = (1 - weight)(1 - a) + weight v in [0, 1], with a the solve rate and v the rate of verification
    failures (ZRC, "difficulty estimation"). v is taken to be 1 - a until verifications say otherwise, so a task
    never verified has d = 1 - a."""
    failures = (tasks["failed"] + strength * (1.0 - rates)) / (tasks["checked"] + strength)
    return np.asarray((1.0 - weight) * (1.0 - rates) + weight * failures)


def majority(answers: Sequence[Hashable]) -> tuple[float, ...]:
    """Success without a verifier: 1.0 for each answer that is the most frequent one (of equally frequent ones
    the first given), else 0.0. Answers must compare equal when they mean the same; None, for no answer, never
    wins. Agreement overstates success where the model is surely wrong, and is at least 1 in n."""
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return (0.0,) * len(answers)
    winner = votes.most_common(1)[0][0]
    return tuple(float(answer is not None and answer == winner) for answer in answers)
