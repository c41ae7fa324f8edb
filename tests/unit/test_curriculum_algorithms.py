"""What each curriculum is for, and what it does in the case it is made for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from azrl.curriculum import Outcome, build_curriculum

ARMS = ("easy", "middle", "hard")
SOLVED, HALF, FAILED = (1.0,) * 8, (1.0, 0.0) * 4, (0.0,) * 8


def shares(curriculum, step=0):
    return dict(zip(curriculum.arms, curriculum.probabilities(step).tolist(), strict=True))


def feed(curriculum, steps, **rewards):
    """The same groups, four an arm, for many steps."""
    for step in range(steps):
        curriculum.update(step, [Outcome(arm, "t", r, 10) for arm, r in rewards.items() for _ in range(4)])


def test_proportional_keeps_to_its_weights():
    curriculum = build_curriculum("proportional", arms=ARMS, weights={"easy": 6, "middle": 3, "hard": 1})
    feed(curriculum, 5, easy=HALF)
    assert shares(curriculum, 99) == pytest.approx({"easy": 0.6, "middle": 0.3, "hard": 0.1})


@pytest.mark.parametrize(
    ("options", "by_step"),
    [
        ({}, ["e", "e", "em", "em", "emh", "emh", "emh"]),
        ({"mode": "replace"}, ["e", "e", "m", "m", "h", "h", "h"]),
        ({"order": "hard_to_easy"}, ["h", "h", "mh", "mh", "emh", "emh", "emh"]),
        ({"order": ["middle", ["easy", "hard"]]}, ["m", "m", "emh", "emh", "emh"]),
    ],
)
def test_staged_opens_by_steps(options, by_step):
    curriculum = build_curriculum("staged", arms=ARMS, steps_per_stage=2, **options)
    for step, letters in enumerate(by_step):
        wanted = {arm: (arm[0] in letters) / len(letters) for arm in ARMS}
        assert shares(curriculum, step) == pytest.approx(wanted)


def test_staged_by_mastery_waits_for_the_newest_stage():
    curriculum = build_curriculum("staged", arms=ARMS, advance="mastery", mode="replace", mastery=0.8)
    feed(curriculum, 50, easy=HALF, middle=SOLVED, hard=SOLVED)
    assert shares(curriculum)["easy"] == 1.0
    feed(curriculum, 10, easy=SOLVED)
    assert shares(curriculum)["middle"] == 1.0
    feed(curriculum, 3, middle=SOLVED)
    assert shares(curriculum)["middle"] == 1.0, "12 groups are too few to tell"
    feed(curriculum, 1, middle=SOLVED)
    assert shares(curriculum)["hard"] == 1.0
    feed(curriculum, 20, hard=SOLVED)
    assert shares(curriculum)["hard"] == 1.0, "the last stage stays"


@pytest.mark.parametrize("rule", ["proportional", "thompson"])
def test_learnability_prefers_what_is_solved_half_the_time(rule):
    curriculum = build_curriculum("learnability", arms=ARMS, rule=rule, power=4.0)
    feed(curriculum, 40, easy=SOLVED, middle=HALF, hard=FAILED)
    p = shares(curriculum)
    assert p["middle"] > 0.9
    feed(curriculum, 40, easy=SOLVED, middle=SOLVED, hard=HALF)
    assert shares(curriculum)["hard"] > 0.9


def test_learnability_is_the_variance_of_the_belief():
    curriculum = build_curriculum("learnability", arms=ARMS, half_life=1e12)
    curriculum.update(0, [Outcome("easy", "t", (1.0,) * 3 + (0.0,)), Outcome("easy", "t", (1.0,) * 4)])
    a, b = 1 + 1.75, 1 + 0.25
    weights = np.array([a * b / ((a + b) * (a + b + 1)), 1 / 6, 1 / 6])
    assert curriculum.probabilities(1) == pytest.approx(weights / weights.sum(), abs=1e-9)


def test_thompson_is_the_chance_of_the_largest_sample():
    """Two arms, one known to be at 1/2 and one not known at all: 2 |p - 1/2| of the first is near 0, so the second
    wins only when its uniform p is nearer."""
    curriculum = build_curriculum("learnability", arms=("known", "unknown"), rule="thompson", half_life=1e12)
    wins = []
    for step in range(200):
        curriculum.update(step, [Outcome("known", "t", HALF)] * 20)
        wins.append(curriculum.probabilities(step)[1])
    assert 0 < np.mean(wins[-50:]) < 0.05
    assert np.mean(wins[:5]) > np.mean(wins[-50:])


@pytest.mark.parametrize("estimate", ["window", "online"])
def test_tscl_follows_what_rises_or_falls(estimate):
    for steps in (range(20), range(20, 0, -1)):
        curriculum = build_curriculum("tscl", arms=ARMS, estimate=estimate)
        for step, level in enumerate(steps):
            moving = tuple(float(j < level) for j in range(20))
            curriculum.update(step, [Outcome("middle", "t", moving), Outcome("easy", "t", SOLVED)])
        assert shares(curriculum)["middle"] == pytest.approx(0.9 + 0.1 / 3)


def test_tscls_slope_is_least_squares_over_the_last_visits():
    curriculum = build_curriculum("tscl", arms=ARMS, window=4)
    scores = {1: 0.0, 2: 0.25, 5: 0.5, 6: 0.25, 9: 1.0}
    for update in range(1, 10):
        rewards = tuple(float(j < 4 * scores.get(update, 0)) for j in range(4))
        curriculum.update(update, [Outcome("hard" if update in scores else "easy", "t", rewards)])
    slope = np.polyfit([2, 5, 6, 9], [0.25, 0.5, 0.25, 1.0], 1)[0]
    assert curriculum.explain()["hard/slope"] == pytest.approx(slope, abs=1e-12)


def test_adarft_moves_its_target_as_published():
    curriculum = build_curriculum("adarft", arms=ARMS, start=40.0, step_size=10.0)
    curriculum.update(0, [Outcome("easy", "t", (1.0, 1.0, 1.0, 0.0))])
    target = 40 + 10 * math.tanh(2 * (0.75 - 0.5))
    assert curriculum.explain()["target"] == pytest.approx(target, abs=1e-12)
    density = np.exp(-((np.array([0.0, 50.0, 100.0]) - target) ** 2) / 200)
    assert curriculum.probabilities(1) == pytest.approx(density / density.sum(), abs=1e-12)
    feed(curriculum, 50, easy=SOLVED)
    assert shares(curriculum)["hard"] > 0.99
    feed(curriculum, 50, easy=FAILED)
    assert shares(curriculum)["easy"] > 0.99


def test_adarft_takes_difficulties_by_name():
    given = {"easy": 90.0, "middle": 50.0, "hard": 10.0}
    assert shares(build_curriculum("adarft", arms=ARMS, difficulties=given))["hard"] > 0.99


def frontier_world(steps, **options):
    """An arm that is learned, one that pays by coin, one mastered and one impossible: the shares over the steps."""
    curriculum = build_curriculum("frontier", arms=("learned", "coin", "mastered", "impossible"), **options)
    rng, rate, history = np.random.default_rng(0), 0.1, []
    for step in range(steps):
        p = shares(curriculum, step)
        history.append(p)
        outcomes = []
        for arm, chance in (("learned", rate), ("coin", 0.5), ("mastered", 1.0), ("impossible", 0.0)):
            for _ in range(round(64 * p[arm])):
                rewards = tuple((rng.random(8) < chance).astype(float).tolist())
                outcomes.append(Outcome(arm, "t", rewards, 100))
                rate += 0.0004 * (arm == "learned")
        rate = min(rate, 0.9)
        curriculum.update(step, outcomes)
    return history, curriculum


def test_frontier_leaves_a_coin_for_what_is_being_learned():
    history, curriculum = frontier_world(30)
    middle = {arm: np.mean([p[arm] for p in history[15:25]]) for arm in history[0]}
    assert middle["learned"] > 0.7
    assert middle["coin"] < 0.1
    assert min(history[-1].values()) >= 0.05 / 4 - 1e-12, "the floor"
    terms = curriculum.explain()
    assert terms["coin/gain"] > terms["mastered/gain"]
    assert terms["coin/live"] < 0.5 < 0.9 < terms["learned/live"]


def test_frontier_without_the_gate_stays_with_the_coin():
    history, _ = frontier_world(30, closed=1.0)
    assert np.mean([p["coin"] for p in history[15:25]]) > 0.3


def test_frontier_looks_again_at_what_was_left_alone():
    curriculum = build_curriculum("frontier", arms=ARMS)
    feed(curriculum, 10, easy=SOLVED, middle=HALF, hard=FAILED)
    left = curriculum.explain()["hard/score"]
    feed(curriculum, 100, easy=SOLVED, middle=HALF)
    assert curriculum.explain()["hard/score"] > left + 0.2


def drawn(curriculum, step, groups, rng, rates):
    """A step's outcomes: groups of 8 drawn by the curriculum's shares from arms with these solve rates."""
    arms = rng.choice(curriculum.arms, groups, p=curriculum.probabilities(step)).tolist()
    return [Outcome(arm, "t", tuple((rng.random(8) < rates[arm]).astype(float).tolist()), 10) for arm in arms]


def test_frontier_leaves_what_never_pays_even_where_nothing_moves():
    rates = {"easy": 0.98, "middle": 0.03, "hard": 0.0}
    curriculum, rng, history = build_curriculum("frontier", arms=ARMS), np.random.default_rng(0), []
    for step in range(150):
        history.append(shares(curriculum, step))
        curriculum.update(step, drawn(curriculum, step, 64, rng, rates))
    late = {arm: np.mean([p[arm] for p in history[50:]]) for arm in ARMS}
    assert late["hard"] < 0.2
    assert late["middle"] > 0.5


def test_frontier_stands_where_no_arm_pays_and_where_all_are_mastered():
    for rewards in (FAILED, SOLVED):
        curriculum = build_curriculum("frontier", arms=ARMS)
        feed(curriculum, 50, **dict.fromkeys(ARMS, rewards))
        assert curriculum.probabilities(50) == pytest.approx([1 / 3] * 3)


def test_frontier_practises_less_what_is_nearly_solved():
    nearly, barely = (1.0,) * 6 + (0.0,) * 2, (1.0,) * 2 + (0.0,) * 6
    curriculum = build_curriculum("frontier", arms=ARMS, enough=1.0)
    feed(curriculum, 3, easy=nearly, middle=barely)
    terms = curriculum.explain()
    assert terms["easy/gain"] == pytest.approx(terms["middle/gain"] / 2, rel=0.02), (
        "a quarter of a half is left"
    )
    whole = build_curriculum("frontier", arms=ARMS, enough=1.0, headroom=0.01)
    feed(whole, 3, easy=nearly, middle=barely)
    assert whole.explain()["easy/gain"] == pytest.approx(whole.explain()["middle/gain"])


def test_frontier_does_not_act_on_feedback_that_does_not_come_true():
    arms = tuple("abcdefgh")
    rates = dict(zip(arms, (0.99, 0.9, 0.5, 0.1, 0.05, 0.02, 0.0, 0.0), strict=True))
    rng, moved = np.random.default_rng(0), {}
    for names in ("true", "permuted"):
        curriculum, far = build_curriculum("frontier", arms=arms), []
        for step in range(60):
            told = dict(zip(arms, arms if names == "true" else rng.permutation(arms).tolist(), strict=True))
            far.append(np.abs(curriculum.probabilities(step) - 1 / 8).sum() / 2)
            outcomes = drawn(curriculum, step, 64, rng, rates)
            curriculum.update(step, [Outcome(told[o.arm], o.item, o.rewards, o.tokens) for o in outcomes])
        moved[names] = np.mean(far[20:])
    assert moved["true"] > 0.5
    assert moved["permuted"] < 0.4, "0.73 if it were acted on"


def test_frontier_prefers_the_cheaper_of_two_alike():
    curriculum = build_curriculum("frontier", arms=("cheap", "dear"))
    for step in range(5):
        curriculum.update(step, [Outcome("cheap", "t", HALF, 100), Outcome("dear", "t", HALF, 300)] * 4)
    assert shares(curriculum)["cheap"] > 0.9
    blind = build_curriculum("frontier", arms=("cheap", "dear"), cost=0.0)
    for step in range(5):
        blind.update(step, [Outcome("cheap", "t", HALF, 100), Outcome("dear", "t", HALF, 300)] * 4)
    assert shares(blind)["cheap"] == pytest.approx(0.5)


def test_frontiers_slope_is_a_weighted_regression_on_teaching():
    """The running moments against numpy's weighted fit over the whole history."""
    curriculum = build_curriculum("frontier", arms=("a",), trend=20.0)
    rng, x, y, now = np.random.default_rng(1), [], [], 0.0
    for step in range(12):
        groups = [
            tuple((rng.random(8) < 0.1 + 0.06 * step).astype(float).tolist())
            for _ in range(rng.integers(1, 6))
        ]
        curriculum.update(step, [Outcome("a", "t", rewards) for rewards in groups])
        for rewards in groups:
            x.append(now)
            y.append(np.mean(rewards))
        sizes = [np.abs((np.array(r) - np.mean(r)) / (np.std(r, ddof=1) + 1e-6)).mean() for r in groups]
        now += sum(sizes)
    m = {name: values[0] for name, values in curriculum.memory.items()}
    # Groups of one step are alike in age, so each weighs keep^(groups of later steps).
    counts = np.unique(x, return_counts=True)[1]
    later = np.repeat(counts[::-1].cumsum()[::-1] - counts, counts)
    weight = 0.95**later
    slope = np.polyfit(x, y, 1, w=np.sqrt(weight))[0]
    got = (m["xy"] - m["x"] * m["y"] / m["w"]) / (m["xx"] - m["x"] ** 2 / m["w"])
    assert got == pytest.approx(slope, rel=1e-6)
