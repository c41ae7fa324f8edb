"""Items within arms: shuffle bags, beliefs, the propensities on tickets, and resuming."""

from __future__ import annotations

import json
import math
import time
from collections import Counter

import numpy as np
import pytest

from azrl.curriculum import Belief, CurriculumSampler, Outcome, ShuffleBag, build_curriculum

ITEMS = {arm: [f"{arm}{i}" for i in range(5)] for arm in "abc"}


def rng(seed=0):
    return np.random.default_rng(seed)


def sampler(items, name="dump", seed=3):
    return CurriculumSampler(build_curriculum(name, arms=tuple("abc")), seed, items)


def play(it, steps, first=0):
    drawn = []
    for step in range(first, first + steps):
        tickets = it.tickets(step, 7)
        drawn += tickets
        it.observe(step, [Outcome(t.arm, t.item, (1.0, float(k % 2), 0.0)) for k, t in enumerate(tickets)])
    return drawn


def test_a_bag_gives_every_item_once_before_any_again():
    bag = ShuffleBag(ITEMS, seed=0)
    picked = [item for n in (2, 4, 1, 8) for item, _ in bag.pick("a", n, rng())]
    rounds = [picked[i : i + 5] for i in range(0, 15, 5)]
    assert all(sorted(r) == ITEMS["a"] for r in rounds)
    assert len({tuple(r) for r in rounds}) == 3, "each round has an order of its own"


def test_items_that_come_and_go_move_no_other():
    bag, changed = ShuffleBag(ITEMS, seed=1), ShuffleBag(ITEMS, seed=1)
    first = [item for item, _ in bag.pick("a", 2, rng())]
    assert [item for item, _ in changed.pick("a", 2, rng())] == first
    rest = [item for item, _ in bag.pick("a", 3, rng())]
    changed.set_items("a", [item for item in ITEMS["a"] if item != rest[1]])
    assert [item for item, _ in changed.pick("a", 2, rng())] == [rest[0], rest[2]]


def test_a_bag_is_fair_in_its_first_place():
    first = Counter(ShuffleBag(ITEMS, seed).pick("a", 1, rng())[0][0] for seed in range(2000))
    assert max(abs(count / 2000 - 0.2) for count in first.values()) < 4 * math.sqrt(0.16 / 2000)


def test_belief_prefers_what_is_solved_sometimes_and_records_the_chance():
    belief = Belief(ITEMS)
    done = {"a0": (1.0,) * 8, "a1": (0.0,) * 8, "a2": (1.0, 0.0) * 4}
    belief.observe([Outcome("a", item, rewards) for item, rewards in done.items()])
    weight = {"a0": 9 / (10 * 11) / 1, "a1": 9 / (10 * 11), "a2": 25 / (10 * 11), "a3": 1 / 6, "a4": 1 / 6}
    total = sum(weight.values())
    generator = rng()
    picks = [belief.pick("a", 1, generator)[0] for _ in range(4000)]
    for item, chance in set(picks):
        assert chance == pytest.approx(weight[item] / total)
    counts = Counter(item for item, _ in picks)
    for item, value in weight.items():
        assert counts[item] / 4000 == pytest.approx(value / total, abs=0.03)


def test_belief_forgets_at_each_visit():
    belief = Belief(ITEMS, decay=0.5)
    for rewards in ((1.0,) * 4, (0.0,) * 4, (0.0,) * 4):
        belief.observe([Outcome("a", "a0", rewards)])
    assert belief.state_dict()["state"] == {"a": {"a0": [1.0, 6.0]}}


def test_belief_gives_none_twice_until_all_have_come():
    picked = [item for item, _ in Belief(ITEMS).pick("a", 12, rng())]
    assert sorted(picked[:5]) == sorted(picked[5:10]) == ITEMS["a"]
    assert len(set(picked[10:])) == 2


@pytest.mark.parametrize("make", [lambda: ShuffleBag(ITEMS, 9), lambda: Belief(ITEMS)])
def test_the_next_thousand_tickets_are_the_same_after_a_resume(make):
    going = sampler(make())
    play(going, 11)
    state = json.loads(json.dumps(going.state_dict(), allow_nan=False))
    resumed = sampler(make())
    resumed.load_state_dict(state)
    assert play(resumed, 143, first=11) == play(going, 143, first=11)


def test_a_ticket_carries_share_times_chance():
    it = sampler(ShuffleBag(ITEMS, 0))
    it.curriculum.update(0, [Outcome("b", "b1", (1.0, 0.0))] * 50)
    share = dict(zip("abc", it.curriculum.probabilities(1), strict=True))
    tickets = it.tickets(1, 30)
    assert len(tickets) == 30
    for ticket in tickets:
        assert ticket.item.startswith(ticket.arm)
        assert ticket.propensity == pytest.approx(share[ticket.arm] / 5)


def test_propensities_undo_the_choice():
    """The mean of value / (propensity x items) over draws is the plain mean over all items."""
    value = {item: i * i for i, item in enumerate(x for names in ITEMS.values() for x in names)}
    it = sampler(Belief(ITEMS), "learnability")
    it.observe(0, [Outcome("a", "a0", (1.0, 0.0) * 8)] * 6 + [Outcome("b", "b1", (1.0,) * 16)] * 6)
    weighted = [value[t.item] / (t.propensity * 15) for step in range(6000) for t in it.tickets(step, 1)]
    error = np.std(weighted) / math.sqrt(len(weighted))
    assert abs(np.mean(weighted) - np.mean(list(value.values()))) < 4 * error


def test_arms_without_items_are_left_out():
    it = sampler(ShuffleBag({"a": ["x"], "b": []}, 0), "uniform")
    assert {(t.arm, t.item, t.propensity) for t in it.tickets(0, 9)} == {("a", "x", 1.0)}
    it.items.set_items("a", [])
    with pytest.raises(ValueError, match=r"no arm .* has items"):
        it.tickets(0, 1)


def test_bad_feedback_moves_neither_curriculum_nor_items():
    it = sampler(Belief(ITEMS))
    play(it, 3)
    before = it.state_dict()
    good = Outcome("a", "a1", (1.0, 0.0))
    for bad, message in [
        (Outcome("a", "zz", (1.0,)), "'zz'"),
        (Outcome("zz", "a1", (1.0,)), "'zz'"),
        (Outcome("a", "a1", (math.nan,)), "not finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            it.observe(3, [good, bad])
        assert it.state_dict() == before


@pytest.mark.parametrize(
    "make", [lambda items=ITEMS: ShuffleBag(items, 9), lambda items=ITEMS: Belief(items)]
)
def test_a_wrong_state_changes_nothing(make):
    it = sampler(make())
    play(it, 5)
    before = it.state_dict()
    other = sampler(make())
    play(other, 9)
    good = other.state_dict()
    for state in (
        {},
        {**good, "items": None},
        {**good, "items": {**good["items"], "version": 2}},
        {**good, "items": {**good["items"], "name": "other"}},
        {**good, "items": {**good["items"], "state": {"zz": {"zz": [1, 1]}}}},
        {**good, "items": {**good["items"], "state": {"a": 3}}},
        {**good, "items": {"name": good["items"]["name"], "version": 1}},
        {**good, "curriculum": {**good["curriculum"], "version": 99}},
    ):
        with pytest.raises(ValueError):
            it.load_state_dict(state)
        assert it.state_dict() == before
    it.load_state_dict(good)
    assert it.state_dict() == good


def test_items_given_twice_and_samplers_without_items_are_refused():
    with pytest.raises(ValueError, match="repeats"):
        ShuffleBag({"a": ["x", "x"]}, 0)
    with pytest.raises(ValueError, match="give it a ShuffleBag"):
        sampler(None).tickets(0, 1)


@pytest.mark.parametrize("make", [lambda items: ShuffleBag(items, 0), Belief])
@pytest.mark.parametrize("name", ["dump", "frontier", "learnability", "plr"])
def test_a_draw_among_40000_items_and_1000_arms_takes_under_a_millisecond(name, make):
    items = {f"arm{k}": [f"{k}-{j}" for j in range(40)] for k in range(1000)}
    it = CurriculumSampler(build_curriculum(name, arms=tuple(items)), 0, make(items))
    generator, spent = rng(), []
    for step in range(15):
        start = time.process_time()
        tickets = it.tickets(step, 64)
        spent.append((time.process_time() - start) / 64)
        it.observe(
            step,
            [
                Outcome(t.arm, t.item, tuple(generator.integers(0, 2, 8).astype(float).tolist()))
                for t in tickets
            ],
        )
    assert np.median(spent) < 1e-3
