"""From judged attempts to one update: what everything earned, how much better that was than expected, the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from azrl.config.schema import Config
from azrl.rl.advantages import estimate
from azrl.rl.baseline import CellBaseline
from azrl.rl.types import Learner, Sample
from azrl.seeding import derive, generator
from azrl.selfplay.credit import PROPOSER, SOLVER, Earned, proposer_earnings, shuffled, solver_earnings
from azrl.selfplay.filters import cut_off, punished, telling
from azrl.selfplay.proposer import Proposal
from azrl.selfplay.solver import Group
from azrl.tasks.gate import Verdict


class Clock(Protocol):
    """Times named phases."""

    def phase(self, name: str) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Lesson:
    """One update: what was earned, what of it was trained on (each with its sample), and what the learner says."""

    earned: list[Earned]
    trained: list[Earned]
    samples: list[Sample]
    metrics: dict[str, float]


class Teacher:
    """Makes lessons. `sharing` maps a program key to how many tasks of the buffer have that program; `rest` is called
    before the learner updates."""

    def __init__(
        self,
        config: Config,
        learner: Learner,
        baseline: CellBaseline,
        sharing: Callable[[str], int],
        clock: Clock,
        rest: Callable[[], None],
    ) -> None:
        self._config, self._learner, self._baseline = config, learner, baseline
        self._rest = rest
        self._sharing, self._clock = sharing, clock

    def teach(
        self,
        proposals: Sequence[Proposal],
        verdicts: Mapping[int, Verdict],
        groups: Sequence[Group],
        trained: Sequence[Group],
        *,
        step: int,
        progress: float,
        novelty_weight: float,
    ) -> Lesson:
        """One update on the proposals, whose worth `groups` measured, and on the solver's `trained` groups. None at
        all where the filters leave nothing."""
        settings, seed = self._config.selfplay, self._config.run.seed
        by_task = {group.task.id: group for group in groups}
        earned = proposer_earnings(proposals, verdicts, by_task, self._sharing, novelty_weight, settings)
        earned += solver_earnings(trained, settings)
        earned = punished(earned, self._config.model.max_response_length, settings.overlong)
        part = f"{len(proposals)} proposals"
        if settings.shuffle_rewards:
            earned = shuffled(earned, generator(seed, step, "shuffle", part))
        with self._clock.phase("update"):
            compared = telling(earned) if settings.filter_groups else earned
            pairs = list(zip(compared, self._samples(compared), strict=True))
            if settings.overlong.filter:
                pairs = [(e, sample) for e, sample in pairs if not cut_off(e)]
            if not pairs:
                return Lesson(earned, [], [], {})
            samples = [sample for _, sample in pairs]
            self._rest()
            metrics = self._learner.update(
                samples, seed=derive(seed, step, "update", part), progress=progress
            )
        return Lesson(earned, [e for e, _ in pairs], samples, metrics)

    def _samples(self, earned: Sequence[Earned]) -> list[Sample]:
        """For PPO a sample's advantage is the reward itself, from which the learner takes its values."""
        algorithm, rewards = self._config.training.rl_algorithm, [e.reward for e in earned]
        advantages = (
            rewards
            if algorithm == "PPO"
            else estimate(
                algorithm,
                rewards,
                cells=[e.cell for e in earned],
                groups=[e.group for e in earned],
                lengths=[len(e.completion.token_ids) for e in earned],
                baseline=self._baseline,
            )
        )
        weight = {PROPOSER: self._config.selfplay.proposer_weight, SOLVER: 1.0}
        return [
            Sample(
                e.completion.prompt_ids,
                e.completion.token_ids,
                e.completion.logprobs,
                float(a) * weight[e.cell[1]],
                e.cell,
            )
            for e, a in zip(earned, advantages, strict=True)
        ]


def together(lessons: Sequence[Lesson]) -> dict[str, float]:
    """The learner's metrics over a step's updates: means weighted by samples, but of `..._max` the largest."""
    parts = [(len(lesson.samples), lesson.metrics) for lesson in lessons]
    keys = dict.fromkeys(key for _, metrics in parts for key in metrics)
    having = {key: [(n, metrics[key]) for n, metrics in parts if key in metrics] for key in keys}
    return {
        key: max(v for _, v in found)
        if key.endswith("_max")
        else sum(n * v for n, v in found) / sum(n for n, _ in found)
        for key, found in having.items()
    }
