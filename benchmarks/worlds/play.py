"""A curriculum, or the oracle, at work in a world."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azrl.curriculum import Curriculum, CurriculumSampler, Outcome
from worlds.learner import Array, Learner, World, table

Make = Callable[[World], Curriculum]


def play(world: World, make: Make, seeds: int, *, placebo: bool = False) -> tuple[Array, Array]:
    """Mean solve rate after each step [seeds, steps + 1], and the share of each arm [steps, arms] (mean over
    seeds). With `placebo` the curriculum is told the outcomes under arm names permuted anew each step."""
    learner = Learner(world, seeds)
    samplers = [CurriculumSampler(make(world), seed) for seed in range(seeds)]
    place = {arm: k for k, arm in enumerate(world.arms)}
    cost = np.array(world.cost)
    curve, shares = [learner.success()], []
    for step in range(world.steps):
        rng = np.random.default_rng([2, step])
        share = np.stack([sampler.curriculum.probabilities(step) for sampler in samplers])
        groups = np.maximum(1, np.rint(world.groups * cost.mean() / (share @ cost))).astype(int)
        drawn = [sampler.draw(step, int(n)) for sampler, n in zip(samplers, groups, strict=True)]
        seed = np.repeat(np.arange(seeds), groups)
        arm = np.array([place[name] for names in drawn for name in names])
        rewards = learner.practise(seed, arm, rng)
        ends = np.cumsum(groups)
        for sampler, names, first, last in zip(samplers, drawn, ends - groups, ends, strict=True):
            rows = rewards[first:last]
            told = dict(
                zip(world.arms, rng.permutation(world.arms).tolist() if placebo else world.arms, strict=True)
            )
            outcomes = _outcomes([told[name] for name in names], rows, place, world)
            sampler.curriculum.update(step, outcomes)
        curve.append(learner.success())
        shares.append(share.mean(axis=0))
    return np.stack(curve, axis=1), np.stack(shares)


def oracle(world: World, seeds: int, parts: int = 8) -> tuple[Array, Array]:
    """The same for a greedy teacher that knows the dynamics: an eighth of the budget at a time goes to the arm
    whose practice raises the mean solve rate most for its cost, by the exact slope and the expected teaching."""
    learner, exact = Learner(world, seeds), table(world)
    cost = np.array(world.cost)
    groups = world.groups * cost.mean() / cost / parts
    measured = np.isin(np.arange(len(cost)), world.measured)
    rows = np.arange(seeds)
    curve, shares = [learner.success()], []
    for _ in range(world.steps):
        taught = np.zeros_like(learner.skill)
        share = np.zeros(len(cost))
        for _ in range(parts):
            skill = learner.skill + world.rate * taught @ learner.matrix.T / world.groups
            worth = (exact.slope(skill) * measured) @ learner.matrix * exact.teaching(skill) / cost
            best = worth.argmax(axis=1)
            taught[rows, best] += groups[best] * exact.teaching(skill)[rows, best]
            share += np.bincount(best, minlength=len(cost)) / (seeds * parts)
        learner.move(taught)
        curve.append(learner.success())
        shares.append(share)
    return np.stack(curve, axis=1), np.stack(shares)


def _outcomes(names: list[str], rows: Array, place: dict[str, int], world: World) -> list[Outcome]:
    return [
        Outcome(name, "item", tuple(row), int(100 * world.cost[place[name]]))
        for name, row in zip(names, rows.tolist(), strict=True)
    ]
