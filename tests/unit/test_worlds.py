"""The simulated learners are what they say they are, and the measures mean what they say."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from azrl.curriculum import build_curriculum

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from worlds.catalogue import CONTENDERS, HELD_OUT, TUNING, make
from worlds.learner import Learner, World, table
from worlds.measure import compare, steps_to
from worlds.play import oracle, play

SMALL = World("chain", tuple(np.linspace(0, -4, 6).tolist()), rate=2.0, steps=40, groups=16)


def contender(name):
    return lambda world: build_curriculum(name, arms=world.arms)


@pytest.mark.parametrize("skill", [-3.0, 0.0, 1.5])
def test_expected_teaching_is_what_practice_gives_on_average(skill):
    world = World("flat", (skill,) * 2, reach=0.0, groups=1, rate=1.0)
    n = 40_000
    learner = Learner(world, 1)
    rewards = learner.practise(np.zeros(n, int), np.zeros(n, int), np.random.default_rng(0))
    solved = rewards.mean(axis=1)
    taught = np.sqrt(solved * (1 - solved))
    exact = table(world)
    assert solved.mean() == pytest.approx(exact.success(np.array(skill)), abs=4 * solved.std() / n**0.5)
    assert taught.mean() == pytest.approx(exact.teaching(np.array(skill)), abs=4 * taught.std() / n**0.5)
    assert learner.skill[0] == pytest.approx([skill + taught.sum(), skill])


def test_coins_and_impossible_arms_teach_nothing_and_are_not_measured():
    world = replace(SMALL, coins=(1,), impossible=(4,), coin=0.3)
    assert world.measured == (0, 2, 3, 5)
    learner = Learner(world, 1)
    arm = np.repeat([1, 4], 500)
    rewards = learner.practise(np.zeros(1000, int), arm, np.random.default_rng(0))
    assert rewards[:500].mean() == pytest.approx(0.3, abs=0.03)
    assert rewards[500:].sum() == 0
    assert learner.skill.tolist() == [list(world.start)]


def test_what_is_not_practised_is_forgotten():
    learner = Learner(replace(SMALL, forgetting=0.1), 1)
    learner.skill += 1.0
    learner.move(np.zeros((1, 6)))
    assert learner.skill[0] - learner.start[0] == pytest.approx(np.full(6, 0.9))


def test_dear_arms_get_fewer_groups_for_the_same_tokens():
    """With arm 0 alone at a fifth of the mean cost, a step's budget buys five times the groups."""
    cheap = World("flat", (0.0,) * 6, reach=0.0, spread=0.0, rate=0.1, steps=1, cost=(0.2, *(1.16,) * 5))
    even = replace(cheap, cost=(1.0,) * 6)

    def gained(world):
        curves, _ = play(world, lambda w: build_curriculum("staged", arms=w.arms), 30)
        return (curves[:, 1] - curves[:, 0]).mean()

    assert gained(cheap) / gained(even) == pytest.approx(5.0, rel=0.05)


def test_the_oracle_is_above_uniform_which_is_above_hard_to_easy():
    best, shares = oracle(SMALL, 6)
    uniform, even = play(SMALL, contender("uniform"), 6)
    worst, _ = play(SMALL, lambda w: build_curriculum("staged", arms=w.arms, order="hard_to_easy"), 6)
    assert best.mean() > uniform.mean() + 0.05 > worst.mean() + 0.1
    assert np.allclose(shares.sum(axis=1), 1)
    assert np.allclose(even, 1 / 6)


def test_a_play_is_a_function_of_its_seeds():
    first, _ = play(SMALL, contender("frontier"), 3)
    again, _ = play(SMALL, contender("frontier"), 3)
    assert (first == again).all()


def test_a_placebo_of_uniform_changes_nothing():
    plain, _ = play(SMALL, contender("uniform"), 4)
    placebo, _ = play(SMALL, contender("uniform"), 4, placebo=True)
    assert (plain == placebo).all()


@pytest.mark.slow
def test_a_placebo_of_frontier_gains_little_and_frontier_much():
    world = World("chain", tuple(np.linspace(0, -7, 12).tolist()), rate=0.75, steps=150)
    uniform, _ = play(world, contender("uniform"), 6)
    best, _ = oracle(world, 6)
    told, _ = play(world, contender("frontier"), 6)
    fooled, _ = play(world, contender("frontier"), 6, placebo=True)
    assert compare(told, uniform, best)["gap_closed"] > 0.6
    assert abs(compare(fooled, uniform, best)["gap_closed"]) < 0.15


def test_steps_to_a_threshold_count_failures_in_full():
    curves = np.array([[0.0, 0.5, 0.9, 0.9], [0.0, 0.1, 0.2, 0.3], [0.9, 0.0, 0.0, 0.0]])
    assert steps_to(curves, 0.8).tolist() == [2, 3, 0]


def test_the_gap_closed_is_0_for_uniform_and_1_for_the_oracle():
    rng = np.random.default_rng(0)
    low, high = rng.random((5, 9)).cumsum(axis=1), 2 + rng.random((5, 9)).cumsum(axis=1)
    assert compare(low, low, high)["gap_closed"] == 0
    assert compare(high, low, high)["gap_closed"] == 1
    middle = compare((low + high) / 2, low, high)
    assert middle["gap_closed"] == pytest.approx(0.5, abs=1e-4)
    assert middle["gap_closed_95"] == pytest.approx([0.5, 0.5], abs=1e-4)


def test_held_out_worlds_are_none_of_those_tuned_on_and_every_contender_fits_them():
    assert not set(HELD_OUT) & set(TUNING)
    for world in HELD_OUT:
        for name in CONTENDERS:
            assert make(name, world).probabilities(0).shape == (len(world.arms),)
