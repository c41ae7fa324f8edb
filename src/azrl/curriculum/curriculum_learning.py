"""DUMP under the names of its own release: estimator, controller and a sampler over a dataset.

For code written against `curriculum_learning.py` of DUMP (arXiv 2504.09710); `build_curriculum("dump")` is the same
rule in this package's terms, and a test holds the two together. What the release gets wrong is not kept: sources
stay in the order given (not that of the hash seed), all state can be saved and resumed in the middle of an epoch, an
epoch has as many draws as the dataset has rows, rows are not decoded again at each draw, and bad feedback is an error
that changes nothing. Feedback comes in through `update_weights` alone: give it training rollouts, never validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from azrl.curriculum.rules import exploration_bonus, softmax

_TEMPERATURE = 0.1


@dataclass
class LearnabilityEstimator:
    """One source. Rewards and advantages are per rollout; `mu` is the mean |advantage| of the window, `alpha` and
    `beta` count rollouts with at least and below `success_at` for ever (3 is a full score on Knights and Knaves),
    and `recent_reward_rate` is the share of the window with at least `recent_success_at`."""

    alpha: float = 1.0
    beta: float = 1.0
    mu: float = 0.0
    n_samples: int = 0
    total_reward: float = 0.0
    window_size: int = 300
    recent_rewards: list[float] = field(default_factory=list)
    recent_advantages: list[float] = field(default_factory=list)
    success_at: float = 3.0
    recent_success_at: float = 1.0

    def update(self, rewards: ArrayLike, advantages: ArrayLike) -> None:
        """Add rollouts, oldest first. ValueError, and nothing changed, unless they pair up and are finite."""
        r, a = checked_rollouts(rewards, advantages)
        if not len(r):
            return
        self.recent_rewards = [*self.recent_rewards, *r.tolist()][-self.window_size :]
        self.recent_advantages = [*self.recent_advantages, *a.tolist()][-self.window_size :]
        successes = int((r >= self.success_at).sum())
        self.alpha += successes
        self.beta += len(r) - successes
        self.mu = float(np.abs(self.recent_advantages).mean())
        self.n_samples += len(r)
        self.total_reward += float(r.sum())

    @property
    def reward_rate(self) -> float:
        """Share of successes over all time, with one of each to begin with."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def expected_value(self) -> float:
        """`reward_rate` times `mu`; for logs."""
        return self.reward_rate * self.mu

    @property
    def recent_reward_rate(self) -> float:
        """Share of the window with at least `recent_success_at`; 0 for an empty one."""
        return (
            float(np.mean(np.array(self.recent_rewards) >= self.recent_success_at))
            if self.recent_rewards
            else 0.0
        )


class CurriculumController:
    """Estimators of all sources, and the weights they lead to."""

    def __init__(self, data_sources: Sequence[str], trend_window: int = 50) -> None:
        self.data_sources = list(dict.fromkeys(data_sources))
        if not self.data_sources:
            raise ValueError("a curriculum needs at least one data source")
        self.trend_window = trend_window
        self.estimators = {source: LearnabilityEstimator() for source in self.data_sources}
        self.weight_history: dict[str, list[float]] = {source: [] for source in self.data_sources}

    def compute_sampling_weights(self) -> dict[str, float]:
        """softmax((mu + sqrt(2 ln(N + 1) / (n + 1))) / 0.1) over the sources, n in rollouts and N their sum (at
        least 1); also noted in `weight_history`, for `compute_trend`."""
        estimators = [self.estimators[source] for source in self.data_sources]
        counts = np.array([estimator.n_samples for estimator in estimators], dtype=np.float64)
        scores = np.array([estimator.mu for estimator in estimators]) + exploration_bonus(counts)
        weights = dict(zip(self.data_sources, softmax(scores, _TEMPERATURE).tolist(), strict=True))
        for source, weight in weights.items():
            self.weight_history[source] = [*self.weight_history[source], weight][-self.trend_window :]
        return weights

    def compute_trend(self, history: Sequence[float]) -> float:
        """Least-squares slope, a call, of the last `trend_window` values; 0 for fewer than two."""
        y = np.asarray(history[-self.trend_window :], dtype=np.float64)
        if len(y) < 2:
            return 0.0
        x = np.arange(len(y)) - (len(y) - 1) / 2.0
        return float(x @ y / (x @ x))

    def get_source_stats(self) -> dict[str, dict[str, float]]:
        """What each estimator says, by source."""
        return {
            source: {
                "expected_value": estimator.expected_value,
                "reward_rate": estimator.reward_rate,
                "recent_reward_rate": estimator.recent_reward_rate,
                "advantage_mean": estimator.mu,
                "n_samples": estimator.n_samples,
            }
            for source, estimator in self.estimators.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "estimators": {source: asdict(estimator) for source, estimator in self.estimators.items()},
            "weight_history": {source: list(history) for source, history in self.weight_history.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, all or nothing; ValueError when it is of other sources."""
        try:
            estimators = {s: LearnabilityEstimator(**values) for s, values in state["estimators"].items()}
            history = {
                source: [float(w) for w in weights] for source, weights in state["weight_history"].items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"damaged state of the curriculum: {error!r}") from error
        if set(estimators) != set(self.data_sources) or set(history) != set(self.data_sources):
            raise ValueError(
                f"state is of the sources {', '.join(estimators)}, not {', '.join(self.data_sources)}"
            )
        self.estimators = {source: estimators[source] for source in self.data_sources}
        self.weight_history = {source: history[source] for source in self.data_sources}


class CurriculumSampler:
    """Row numbers of a dataset for torch's DataLoader (num_workers=0): for each place in a batch a source by
    weight, then a row of it, uniformly and with replacement.

    Weights move between batches. `dataset` is a sequence of mappings, read once for `data_source_key`; rows without
    it are of the source "default". Draws are a function of the seed (None: 0), the batch's number and the
    weights.
    """

    def __init__(
        self,
        dataset: Sequence[Mapping[str, Any]],
        data_source_key: str = "data_source",
        batch_size: int = 1,
        seed: int | None = None,
    ) -> None:
        if batch_size < 1 or not len(dataset):
            raise ValueError(f"want rows and a batch of at least 1, got {len(dataset)} rows and {batch_size}")
        self.data_source_key = data_source_key
        self.batch_size = batch_size
        self.seed = seed or 0
        self.source_indices: dict[str, list[int]] = {}
        for row in range(len(dataset)):
            source = str(dataset[row].get(data_source_key, "default"))
            self.source_indices.setdefault(source, []).append(row)
        self.curriculum_controller = CurriculumController(list(self.source_indices))
        self._weights = dict.fromkeys(self.source_indices, 1.0 / len(self.source_indices))
        self._rows = len(dataset)
        self._batches = 0
        self._drawn = 0
        self._pending: list[int] = []

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[int]:
        """The rest of the epoch that was left off, else the next one: `len(dataset)` draws an epoch."""
        while self._drawn < self._rows:
            if not self._pending:
                self._pending = self._batch()
            self._drawn += 1
            yield self._pending.pop(0)
        self._drawn, self._pending = 0, []

    def update_weights(
        self, source_rewards: Mapping[str, ArrayLike], source_advantages: Mapping[str, ArrayLike]
    ) -> None:
        """Feedback of training rollouts by source. ValueError, and nothing changed, for sources that are unknown or
        in one mapping only, and for values that are not finite or do not pair up."""
        estimators = self.curriculum_controller.estimators
        odd = sorted((set(source_rewards) ^ set(source_advantages)) | (set(source_rewards) - set(estimators)))
        if odd:
            raise ValueError(f"want rewards and advantages of known sources; not so for {', '.join(odd)}")
        for source in source_rewards:
            checked_rollouts(source_rewards[source], source_advantages[source])
        for source in source_rewards:
            estimators[source].update(source_rewards[source], source_advantages[source])
        self._weights = self.curriculum_controller.compute_sampling_weights()

    def get_source_stats(self) -> dict[str, Any]:
        """The controller's, with each source's `sampling_weight`, and `weight_trend`: the mean slope of them."""
        stats: dict[str, Any] = self.curriculum_controller.get_source_stats()
        for source, weight in self._weights.items():
            stats[source]["sampling_weight"] = weight
        histories = self.curriculum_controller.weight_history.values()
        stats["weight_trend"] = float(
            np.mean([self.curriculum_controller.compute_trend(h) for h in histories])
        )
        return stats

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next draw depends on besides the dataset and the seed, for JSON."""
        return {
            "controller": self.curriculum_controller.state_dict(),
            "weights": dict(self._weights),
            "batches": self._batches,
            "drawn": self._drawn,
            "pending": list(self._pending),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; ValueError, and nothing changed, when it is of other sources."""
        try:
            weights = {source: float(state["weights"][source]) for source in self.source_indices}
            batches, drawn = int(state["batches"]), int(state["drawn"])
            pending = [int(row) for row in state["pending"]]
            controller = state["controller"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"damaged state of the sampler: {error!r}") from error
        self.curriculum_controller.load_state_dict(controller)
        self._weights, self._batches, self._drawn, self._pending = weights, batches, drawn, pending

    def _batch(self) -> list[int]:
        rng = np.random.Generator(np.random.Philox(key=[self.seed, self._batches]))
        self._batches += 1
        sources = list(self.source_indices)
        chosen = rng.choice(
            len(sources), size=self.batch_size, p=[self._weights[source] for source in sources]
        )
        rows = [self.source_indices[sources[k]] for k in chosen]
        return [row[int(rng.integers(len(row)))] for row in rows]


def checked_rollouts(rewards: ArrayLike, advantages: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float arrays; ValueError unless they are finite and of one length."""
    r, a = (
        np.atleast_1d(np.asarray(rewards, dtype=np.float64)),
        np.atleast_1d(np.asarray(advantages, dtype=np.float64)),
    )
    if r.shape != a.shape or r.ndim != 1 or not (np.isfinite(r).all() and np.isfinite(a).all()):
        raise ValueError(
            f"want one finite advantage a finite reward, got {r.shape} rewards and {a.shape} advantages"
        )
    return r, a
