"""DUMP, SEC and PLR against their published formulas, computed again in plain Python from a recorded stream."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from azrl.curriculum import CurriculumController, Outcome, build_curriculum

ARMS = ("kk3", "kk4", "kk5", "kk6", "kk7")


def stream(steps=70, seed=0, given=False):
    """Steps of groups of 2 to 8 rollouts with Logic-RL's rewards, or with advantages of the trainer's own."""
    draw = random.Random(seed)
    for _ in range(steps):
        groups = []
        for _ in range(draw.randint(0, 12)):
            arm = draw.randrange(len(ARMS) - 1)  # the last arm is never practised
            rewards = tuple(draw.choices((3.0, -0.5, -1.0, -3.0), (1, 1 + arm, 1, arm), k=draw.randint(2, 8)))
            own = tuple(draw.gauss(0, 1) for _ in rewards) if given else None
            groups.append(Outcome(ARMS[arm], f"p{draw.randrange(99)}", rewards, 10, own))
        yield groups


def grpo(group):
    if group.advantages is not None:
        return list(group.advantages)
    mean, std = statistics.fmean(group.rewards), statistics.stdev(group.rewards)
    return [(reward - mean) / (std + 1e-6) for reward in group.rewards]


def softmax(scores, temperature):
    powers = [math.exp((score - max(scores)) / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


def close(shares, wanted):
    assert len(shares) == len(wanted)
    assert max(abs(a - b) for a, b in zip(shares, wanted, strict=True)) < 1e-9


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("variant", ["code", "paper"])
def test_dump(variant, given):
    curriculum = build_curriculum("dump", arms=ARMS, variant=variant)
    kept, counts = {arm: [] for arm in ARMS}, dict.fromkeys(ARMS, 0)
    close(curriculum.probabilities(0), [0.2] * 5)
    for step, groups in enumerate(stream(given=given)):
        curriculum.update(step, groups)
        for group in groups:
            kept[group.arm] += [abs(a) for a in grpo(group)]
            counts[group.arm] += len(group.rewards) if variant == "code" else 1
        total = max(1, sum(counts.values()))
        scores = [
            (statistics.fmean(kept[arm][-300:]) if kept[arm] else 0.0)
            + math.sqrt(2 * math.log(total + 1) / (counts[arm] + 1))
            for arm in ARMS
        ]
        close(curriculum.probabilities(step + 1), softmax(scores, 0.1))
    assert max(map(len, kept.values())) > 400  # the window has turned over


def test_dumps_own_controller_is_the_same_rule():
    curriculum, controller = build_curriculum("dump", arms=ARMS), CurriculumController(list(ARMS))
    for step, groups in enumerate(stream(seed=3)):
        curriculum.update(step, groups)
        for group in groups:
            controller.estimators[group.arm].update(group.rewards, grpo(group))
        close(curriculum.probabilities(step + 1), list(controller.compute_sampling_weights().values()))


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("objective", ["advantage", "raw_advantage", "progress"])
@pytest.mark.parametrize("rule", ["boltzmann", "normalised", "egreedy"])
def test_sec(variant, objective, rule):
    curriculum = build_curriculum(
        "sec", arms=ARMS, variant=variant, objective=objective, rule=rule, alpha=0.3, tau=0.2
    )
    q, last = dict.fromkeys(ARMS, 0.0), {}
    for step, groups in enumerate(stream(seed=1)):
        curriculum.update(step, groups)
        for arm in ARMS:
            mine = [group for group in groups if group.arm == arm]
            if not mine:
                q[arm] *= 0.7 if variant == "code" else 1.0
                continue
            rewards = [reward for group in mine for reward in group.rewards]
            if objective == "progress":
                gain = statistics.fmean(rewards) - last.get(arm, statistics.fmean(rewards))
            elif objective == "raw_advantage":
                gain = statistics.fmean(abs(r - statistics.fmean(g.rewards)) for g in mine for r in g.rewards)
            else:
                gain = statistics.fmean(abs(a) for group in mine for a in grpo(group))
            last[arm] = statistics.fmean(rewards)
            q[arm] = 0.7 * q[arm] + 0.3 * gain
        values = list(q.values())
        if rule == "boltzmann":
            wanted = softmax(values, 0.2)
        elif rule == "normalised":
            wanted = [max(v, 0.01) / sum(max(w, 0.01) for w in values) for v in values]
        else:
            best = [v == max(values) for v in values]
            wanted = [0.9 * b / sum(best) + 0.1 / 5 for b in best]
        close(curriculum.probabilities(step + 1), wanted)


def test_plr():
    curriculum = build_curriculum("plr", arms=ARMS, beta=0.3, rho=0.2)
    score, visited = {}, {}
    close(curriculum.probabilities(0), [0.2] * 5)
    for step, groups in enumerate(stream(seed=2)):
        curriculum.update(step, groups)
        for arm in ARMS:
            mine = [group for group in groups if group.arm == arm]
            if mine:
                score[arm] = statistics.fmean(abs(a) for group in mine for a in grpo(group))
                visited[arm] = step
        seen = sorted(score, key=score.get, reverse=True)
        power = {arm: (1 / (rank + 1)) ** (1 / 0.3) for rank, arm in enumerate(seen)}
        stale = {arm: step - visited[arm] for arm in seen}
        if not any(stale.values()):
            stale = dict.fromkeys(seen, 1)
        wanted = [
            len(seen) / 5 * (0.8 * power[arm] / sum(power.values()) + 0.2 * stale[arm] / sum(stale.values()))
            if arm in score
            else 1 / 5
            for arm in ARMS
        ]
        close(curriculum.probabilities(step + 1), wanted)


def test_plr_gives_equal_scores_equal_shares():
    curriculum = build_curriculum("plr", arms=ARMS, rho=0.0)
    curriculum.update(0, [Outcome(arm, "t", (1.0, 0.0)) for arm in ARMS])
    close(curriculum.probabilities(1), [0.2] * 5)
