"""One curriculum with one learner, at equal rollouts a step."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from azrl.curriculum import Curriculum, CurriculumSampler, Outcome, build_curriculum
from sums.learner import Floats, Learner, Recipe, exam
from sums.problems import Place

THRESHOLD = 0.9
EVERY = 10  # steps from one measurement to the next
_EACH = 80  # held-out problems an arm

CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform": ("uniform", {}),
    "by mastery, replace": ("staged", {"advance": "mastery", "mode": "replace"}),
    "frontier, cost 0": ("frontier", {"cost": 0.0}),
    "frontier, cost 0, no gate": ("frontier", {"cost": 0.0, "closed": 1.0}),
    "dump": ("dump", {}),
    "sec": ("sec", {}),
    "learnability, Thompson": ("learnability", {"rule": "thompson"}),
    "plr": ("plr", {}),
    "adarft": ("adarft", {}),
    "by mastery, expand": ("staged", {"advance": "mastery"}),
    "tscl": ("tscl", {}),
    "zrc": ("zrc", {}),
    "frontier": ("frontier", {}),
    "learnability": ("learnability", {}),
    "sec (code, tau 0.2)": ("sec", {"variant": "code", "tau": 0.2}),
    "dump (paper)": ("dump", {"variant": "paper"}),
    "by digits": ("proportional", {}),
    "easy to hard, expand": ("staged", {}),
    "easy to hard, replace": ("staged", {"mode": "replace"}),
    "hard to easy": ("staged", {"order": "hard_to_easy"}),
}
"""Name in the tables, algorithm and options, defaults where none stand here."""
ORACLE = "oracle"


class Oracle(Curriculum):
    """All groups to the first arm whose held-out accuracy is below the threshold, else to the worst. It looks at
    what no curriculum may see."""

    name = ORACLE

    def look(self, accuracy: Floats) -> None:
        low = np.flatnonzero(accuracy < THRESHOLD)
        self.run["arm"] = float(low[0] if len(low) else accuracy.argmin())

    def _probabilities(self, step: int) -> Floats:
        return np.eye(len(self.arms))[int(self.run["arm"])]


def make(name: str, place: Place, horizon: int) -> Curriculum:
    """The curriculum of this name; staged plans by steps open the last arm half way to the horizon, and `by
    digits` draws arms in proportion to their digits."""
    if name == ORACLE:
        return Oracle(place.arms)
    algorithm, options = CONTENDERS[name]
    if algorithm == "staged" and "advance" not in options:
        options = options | {"steps_per_stage": max(1, horizon // (2 * len(place.arms)))}
    if algorithm == "proportional":
        options = {"weights": dict(zip(place.arms, place.levels, strict=True))}
    return build_curriculum(algorithm, arms=place.arms, **options)


def starts(recipe: Recipe) -> Callable[[int], Learner]:
    """Learners by seed after their warm start, which all contenders share."""
    made: dict[int, Learner] = {}

    def start(seed: int) -> Learner:
        if seed not in made:
            made[seed] = Learner(recipe, seed)
            made[seed].warm_start(np.random.default_rng([1, seed]))
        return copy.deepcopy(made[seed])

    return start


def contest(
    place: Place, name: str, learner: Learner, seed: int, horizon: int, *, stop: bool
) -> dict[str, Any]:
    """A learning curve: every 10 steps the held-out accuracy of each arm, from before the first on, and the share
    of the groups that each arm got since. With `stop` it ends where the mean accuracy reaches 90 %."""
    began = time.process_time()
    sampler = CurriculumSampler(make(name, place, horizon), seed)
    number = {arm: k for k, arm in enumerate(place.arms)}
    rng = np.random.default_rng([2, seed])
    held_out = exam(place, _EACH, seed)
    curve: list[list[float]] = []
    shares: list[list[float]] = []
    drawn, informative, tokens, step = np.zeros(len(number)), 0.0, 0, 0
    for step in range(horizon + 1):
        if step % EVERY == 0:
            accuracy = learner.solved(held_out).reshape(len(number), _EACH).mean(axis=1)
            curve.append(accuracy.round(4).tolist())
            if step:
                shares.append((drawn / drawn.sum()).round(3).tolist())
                drawn[:] = 0
            if isinstance(sampler.curriculum, Oracle):
                sampler.curriculum.look(accuracy)
            if step == horizon or (stop and accuracy.mean() >= THRESHOLD):
                break
        arms = np.array([number[arm] for arm in sampler.draw(step, learner.recipe.groups)])
        problems = place.draw(arms, rng)
        rewards = learner.practise(problems)
        costs = (problems.length * learner.recipe.rollouts).tolist()
        outcomes = [
            Outcome(place.arms[arm], "sum", tuple(row), cost)
            for arm, row, cost in zip(arms, rewards.tolist(), costs, strict=True)
        ]
        sampler.observe(step, outcomes)
        np.add.at(drawn, arms, 1)
        informative += float((np.ptp(rewards, axis=1) > 0).mean())
        tokens += sum(costs)
    return {
        "place": place.name,
        "contender": name,
        "seed": seed,
        "steps": step,
        "tokens": tokens,
        "informative": round(informative / max(1, step), 4),
        "accuracy": curve,
        "shares": shares,
        "cpu_s": round(time.process_time() - began, 1),
    }
