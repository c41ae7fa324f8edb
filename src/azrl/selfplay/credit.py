"""From what happened in a step to what each completion earns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from azrl.config.schema import Selfplay
from azrl.engine.base import Completion
from azrl.selfplay.proposer import Proposal
from azrl.selfplay.rewards import proposer_reward, solver_reward
from azrl.selfplay.solver import Group
from azrl.tasks.gate import Verdict

PROPOSER, SOLVER = "proposer", "solver"

# Refusals that are nobody's fault: the executor's trouble, and programs that belong to the frozen probe.
_EXCUSED = frozenset({"infra", "held_out"})


@dataclass(frozen=True, slots=True)
class Earned:
    """One completion and its reward. `group` joins completions that answer one prompt (or one arm)."""

    cell: tuple[str, str]  # (kind, role)
    group: str
    completion: Completion
    reward: float


def solver_earnings(groups: Sequence[Group], settings: Selfplay) -> list[Earned]:
    """Every attempt of every group that has a verdict and may be trained on."""
    return [
        Earned(
            (group.task.kind.value, SOLVER),
            group.task.id,
            attempt.completion,
            solver_reward(bool(attempt.correct), attempt.answer is not None, settings.format_penalty),
        )
        for group in groups
        for attempt in group.judged
        if attempt.trainable
    ]


def proposer_earnings(
    proposals: Sequence[Proposal],
    verdicts: Mapping[int, Verdict],
    groups: Mapping[str, Group],
    times_seen: Callable[[str], int],
    novelty_weight: float,
    settings: Selfplay,
) -> list[Earned]:
    """Proposals that were refused, or whose task was attempted. Admitted tasks that still wait earn nothing yet.

    `verdicts` maps a proposal's index to its verdict, `groups` a task id to its attempts, and `times_seen` a
    program key to how many earlier tasks have that program.
    """
    earnings = []
    for i, proposal in enumerate(proposals):
        verdict = verdicts.get(i)
        if verdict is None or verdict.task is None:
            if verdict is not None and verdict.reason in _EXCUSED:
                continue
            reward = settings.format_penalty.format_error
        else:
            group = groups.get(verdict.task.id)
            if group is None or not group.judged:
                continue
            reward = proposer_reward(
                group.solved,
                len(group.judged),
                off=abs(verdict.task.bin - proposal.spec.bin),
                times_seen=times_seen(verdict.key),
                novelty_weight=novelty_weight,
                settings=settings,
            )
        kind = proposal.spec.kind.value
        earnings.append(Earned((kind, PROPOSER), f"{PROPOSER} {proposal.arm}", proposal.completion, reward))
    return earnings


def shuffled(earned: Sequence[Earned], rng: np.random.Generator) -> list[Earned]:
    """The control experiment: each cell keeps its rewards, dealt out anew, so that they say nothing."""
    rewards = np.array([e.reward for e in earned])
    for cell in dict.fromkeys(e.cell for e in earned):
        places = np.array([i for i, e in enumerate(earned) if e.cell == cell])
        rewards[places] = rewards[rng.permutation(places)]
    return [Earned(e.cell, e.group, e.completion, float(r)) for e, r in zip(earned, rewards, strict=True)]
