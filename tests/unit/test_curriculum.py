"""Curricula and the sampler: what they refuse, what they draw, and that a resumed run draws the same."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from hash_seeds import printed
from hypothesis import given, settings
from hypothesis import strategies as st

from azrl.curriculum import ALGORITHMS, Curriculum, CurriculumSampler, Outcome, build_curriculum

ARMS = ("abduction", "deduction", "induction")


class Fixed(Curriculum):
    """Given weights, and a memory that counts rewards: stands for the algorithms to come."""

    name = "fixed"

    def __init__(self, arms, weights):
        super().__init__(arms)
        self.weights = weights
        self.seen = 0

    def _probabilities(self, step):
        return self.weights

    def _update(self, step, outcomes):
        self.seen += sum(len(outcome.rewards) for outcome in outcomes)

    def _state(self):
        return {"seen": self.seen}

    def _load(self, state):
        self.seen = -1
        self.seen = int(state["seen"])


def test_uniform_is_even_and_never_moves():
    curriculum = build_curriculum("uniform", arms=("a", "b", "c", "d"))
    before = curriculum.state_dict()
    curriculum.update(3, [Outcome("a", "t1", (1.0, 0.0), 64)])
    assert curriculum.probabilities(7).tolist() == [0.25] * 4
    assert curriculum.probabilities(7).dtype == np.float64
    assert curriculum.state_dict() == before
    assert curriculum.explain() == dict.fromkeys("abcd", 0.25)


def build(name, arms=ARMS):
    needed = {"proportional": {"weights": {arm: 1 + i for i, arm in enumerate((*ARMS, "new"))}}}
    return build_curriculum(name, arms=arms, **needed.get(name, {}))


def play(curriculum, steps, first=0, n=8):
    """Outcomes whose solve rate depends on the arm, drawn as the curriculum says; returns what was drawn."""
    sampler, drawn = CurriculumSampler(curriculum, seed=5), []
    for step in range(first, first + steps):
        arms = sampler.draw(step, n)
        rng = np.random.default_rng(step)
        chance = {arm: 0.2 + 0.3 * (i % 3) for i, arm in enumerate(ARMS)}
        outcomes = [
            Outcome(
                arm, f"t{i}", tuple((rng.random(4) < chance.get(arm, 0.5)).astype(float).tolist()), 10 + i
            )
            for i, arm in enumerate(arms)
        ]
        curriculum.update(step, outcomes)
        drawn.append(arms)
    return drawn


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_algorithm_resumes_through_json_to_the_same_draws(name):
    curriculum = build(name)
    play(curriculum, 12)
    resumed = build(name)
    resumed.load_state_dict(json.loads(json.dumps(curriculum.state_dict(), allow_nan=False)))
    assert play(resumed, 125, first=12) == play(curriculum, 125, first=12)
    assert resumed.state_dict() == curriculum.state_dict()


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_shares_are_a_distribution_and_move_without_randomness(name):
    curriculum = build(name)
    for step in range(30):
        p = curriculum.probabilities(step)
        assert (p >= 0).all()
        assert math.isclose(p.sum(), 1.0)
        assert p.tolist() == curriculum.probabilities(step).tolist()
        play(curriculum, 1, first=step)
    assert all(math.isfinite(value) for value in curriculum.explain().values())


@pytest.mark.parametrize(
    "name", sorted(set(ALGORITHMS) - {"staged", "adarft", "proportional", "learnability"})
)
def test_the_order_of_the_arms_does_not_matter(name):
    """Whatever has no notion of easy and hard treats arms alike: permuted arms get permuted shares."""
    outcomes = [
        Outcome(arm, "t", tuple(float(j < i + 1) for j in range(4)), 5)
        for i, arm in enumerate(ARMS)
        for _ in range(2)
    ]
    forth, back = build(name), build(name, ARMS[::-1])
    for step in range(6):
        forth.update(step, outcomes)
        back.update(step, outcomes[::-1])
    assert np.allclose(forth.probabilities(6), back.probabilities(6)[::-1], atol=1e-12)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_an_update_of_nothing_keeps_the_shares_finite(name):
    curriculum = build(name)
    curriculum.update(0, [])
    assert math.isclose(curriculum.probabilities(1).sum(), 1.0)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_a_single_arm_gets_everything(name):
    curriculum = build(name, ARMS[:1])
    play(curriculum, 3)
    assert curriculum.probabilities(3).tolist() == [1.0]


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_arms_come_and_go_and_the_others_keep_their_memory(name):
    curriculum = build(name)
    play(curriculum, 6)
    before = curriculum.state_dict()["state"]
    curriculum.add_arm("new")
    curriculum.remove_arm("abduction")
    assert curriculum.arms == ("deduction", "induction", "new")
    after = curriculum.state_dict()["state"]
    for field in curriculum.memory:
        assert after[field][:2] == before[field][1:]
        assert after[field][2] == build(name).state_dict()["state"][field][0]
    play(curriculum, 4, first=6)
    resumed = build(name)
    state = json.loads(json.dumps(curriculum.state_dict()))
    with pytest.raises(ValueError, match="arms"):
        resumed.load_state_dict(state)
    resumed.set_arms(state["arms"])
    resumed.load_state_dict(state)
    assert resumed.probabilities(10).tolist() == curriculum.probabilities(10).tolist()


def test_arms_that_cannot_come_or_go_change_nothing():
    curriculum = build_curriculum("proportional", arms=("a", "b"), weights={"a": 1, "b": 3})
    for change, message in [
        (lambda: curriculum.add_arm("c"), "no weight for c"),
        (lambda: curriculum.add_arm("a"), "more than once: a"),
        (lambda: curriculum.remove_arm("z"), "no arm 'z'"),
        (lambda: curriculum.set_arms(()), "at least one"),
    ]:
        with pytest.raises(ValueError, match=message):
            change()
        assert curriculum.probabilities(0).tolist() == [0.25, 0.75]


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"uniform", "proportional", "zrc"}))
def test_a_state_with_numbers_that_are_not_finite_or_of_another_shape_is_refused(name):
    curriculum = build(name)
    play(curriculum, 4)
    before = curriculum.state_dict()
    for spoil in (
        lambda v: math.nan if isinstance(v, float) else [math.nan] * 3,
        lambda v: [[1.0]],
        lambda v: "x",
    ):
        for field in before["state"]:
            state = json.loads(json.dumps(before))
            state["state"][field] = spoil(state["state"][field])
            with pytest.raises(ValueError, match="damaged"):
                curriculum.load_state_dict(state)
            assert curriculum.state_dict() == before


@pytest.mark.parametrize(
    ("name", "arms", "options", "message"),
    [
        ("unifrom", ARMS, {}, "did you mean 'uniform'"),
        ("zzz", ARMS, {}, "there is .*uniform"),
        ("uniform", (), {}, "at least one arm"),
        ("uniform", ("a", "b", "a"), {}, "more than once: a"),
        ("uniform", "abc", {}, "list or tuple"),
        ("uniform", {"a", "b"}, {}, "list or tuple"),
        ("uniform", ARMS, {"tau": 1.0}, "no option 'tau'"),
        ("uniform", ("a", 3), {}, "names, got .3"),
        ("proportional", ARMS, {}, "needs the option weights"),
        ("proportional", ARMS, {"weights": {"abduction": 1}}, "no weight for deduction, induction"),
        ("proportional", ARMS, {"weights": dict.fromkeys(ARMS, 0)}, "all 0"),
        ("proportional", ARMS, {"weights": 3}, "map each arm"),
        ("dump", ARMS, {"temprature": 1.0}, "did you mean 'temperature'"),
        ("dump", ARMS, {"temperature": 0}, "temperature should be above 0"),
        ("dump", ARMS, {"variant": "release"}, "one of code, paper"),
        ("dump", ARMS, {"window": 2.5}, "whole number"),
        ("sec", ARMS, {"alpha": 1.5}, "at most 1"),
        ("plr", ARMS, {"beta": math.nan}, "beta should be a number above 0"),
        ("tscl", ARMS, {"window": 1}, "at least 2"),
        ("staged", ARMS, {"order": "esay_to_hard"}, "easy_to_hard"),
        ("staged", ARMS, {"order": ["abduction", "deduction"]}, "not so for induction"),
        ("staged", ARMS, {"order": 5}, "a word or a list"),
        ("adarft", ARMS, {"difficulties": {"abduction": 5}}, "no difficulty for deduction"),
        ("adarft", ARMS, {"difficulties": [1, 2, 3]}, "map each arm"),
        ("frontier", ARMS, {"floor": True}, "floor should be a number"),
    ],
)
def test_wrong_arguments_are_named(name, arms, options, message):
    with pytest.raises(ValueError, match=message):
        build_curriculum(name, arms=arms, **options)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Outcome("deductoin", "t", (1.0,)), "unknown arm 'deductoin'"),
        (Outcome("deduction", "t", (1.0, math.nan)), "not finite"),
        (Outcome("deduction", "t", (math.inf,)), "not finite"),
        (Outcome("deduction", "t", ()), "no rewards"),
        (Outcome("deduction", "t", (1.0, 0.0), advantages=(1.0,)), "one finite advantage a reward"),
        (Outcome("deduction", "t", (1.0,), advantages=(math.nan,)), "one finite advantage a reward"),
        (Outcome("deduction", "t", (1.0,), tokens=-1), "-1 tokens"),
    ],
)
def test_one_bad_outcome_refuses_the_whole_batch(bad, message):
    curriculum = Fixed(ARMS, [1, 1, 1])
    good = Outcome("abduction", "t0", (1.0, 0.0))
    with pytest.raises(ValueError, match=message):
        curriculum.update(0, [good, bad])
    assert curriculum.seen == 0
    curriculum.update(0, [good])
    assert curriculum.seen == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"name": "dump"}, "name 'dump'"),
        ({"arms": ["abduction", "induction", "deduction"]}, "arms"),
        ({"state": {}}, "damaged"),
        ({"state": {"seen": "many"}}, "damaged"),
        ({"state": None}, "no 'state'"),
    ],
)
def test_a_foreign_state_is_refused_and_changes_nothing(change, message):
    curriculum = Fixed(ARMS, [1, 1, 1])
    curriculum.seen = 5
    with pytest.raises(ValueError, match=message):
        curriculum.load_state_dict({**curriculum.state_dict(), **change})
    assert curriculum.seen == 5


def test_a_state_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no 'name'"):
        build_curriculum("uniform", arms=ARMS).load_state_dict({})


@pytest.mark.parametrize("weights", [[0, 0, 0], [1, -1, 1], [1, math.nan, 1], [1, 1]])
def test_an_algorithm_gone_wrong_stops_instead_of_drawing(weights):
    with pytest.raises(FloatingPointError, match="fixed"):
        Fixed(ARMS, weights).probabilities(0)


def test_uniform_draws_exact_thirds():
    sampler = CurriculumSampler(build_curriculum("uniform", arms=ARMS), seed=1)
    for step in range(50):
        assert Counter(sampler.draw(step, 48)) == dict.fromkeys(ARMS, 16)


@settings(max_examples=300, deadline=None)
@given(
    weights=st.lists(st.floats(0, 1e6), min_size=1, max_size=20).filter(lambda w: sum(w) > 1e-6),
    n=st.integers(0, 200),
    seed=st.integers(0, 2**70),
    step=st.integers(0, 10**9),
)
def test_counts_are_the_shares_rounded_up_or_down(weights, n, seed, step):
    arms = tuple(f"arm{i}" for i in range(len(weights)))
    drawn = CurriculumSampler(Fixed(arms, weights), seed).draw(step, n)
    assert len(drawn) == n
    counts = Counter(drawn)
    for arm, weight in zip(arms, weights, strict=True):
        assert abs(counts[arm] - n * weight / sum(weights)) < 1 + 1e-6


def test_on_average_each_arm_comes_in_its_share():
    weights = np.array([0.05, 0.15, 0.3, 0.5])
    sampler = CurriculumSampler(Fixed(tuple("abcd"), weights), seed=0)
    steps, n = 4000, 7
    total = Counter(arm for step in range(steps) for arm in sampler.draw(step, n))
    shares = np.array([total[arm] for arm in "abcd"]) / (steps * n)
    # One step's count is Bernoulli around its share: standard error at most 0.5 / (7 sqrt(4000)) = 0.0011.
    assert np.abs(shares - weights).max() < 4 * 0.0012


def test_every_pair_of_leftovers_occurs():
    """Systematic sampling in a fixed order would only ever pick arms 1 and 3 or 2 and 4 together."""
    sampler = CurriculumSampler(build_curriculum("uniform", arms=tuple("abcd")), seed=0)
    assert len({frozenset(sampler.draw(step, 2)) for step in range(200)}) == 6


def test_draws_depend_on_seed_step_and_purpose_alone():
    def sampler(seed):
        return CurriculumSampler(build_curriculum("uniform", arms=ARMS), seed)

    used = sampler(3)
    for step in range(10):
        used.draw(step, 12)
    assert used.draw(10, 12) == sampler(3).draw(10, 12)
    assert used.draw(10, 12) != sampler(3).draw(11, 12)
    assert used.draw(10, 12) != sampler(4).draw(10, 12)
    assert used.draw(10, 12) != used.draw(10, 12, purpose="practise")


def test_arms_come_in_random_order():
    sampler = CurriculumSampler(build_curriculum("uniform", arms=ARMS), seed=0)
    assert {sampler.draw(step, 3)[0] for step in range(30)} == set(ARMS)


@pytest.mark.parametrize(("seed", "n", "message"), [(-1, 3, "seed"), (0, -3, "-3")])
def test_negative_numbers_are_refused(seed, n, message):
    with pytest.raises(ValueError, match=message):
        CurriculumSampler(build_curriculum("uniform", arms=ARMS), seed).draw(0, n)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_draws_do_not_depend_on_the_hash_seed(name):
    program = (
        "from azrl.curriculum import *\n"
        "arms = tuple('abcde')\n"
        f"options = {{'weights': dict.fromkeys(arms, 1)}} if {name!r} == 'proportional' else {{}}\n"
        "items = {arm: [f'{arm}{i}' for i in range(7)] for arm in arms}\n"
        "for choice in (ShuffleBag(items, 3), Belief(items)):\n"
        f"    sampler = CurriculumSampler(build_curriculum({name!r}, arms=arms, **options), 7, choice)\n"
        "    for step in range(6):\n"
        "        tickets = sampler.tickets(step, 13)\n"
        "        print(tickets)\n"
        "        outcomes = [Outcome(t.arm, t.item, (1.0, float(k % 3 > 0))) for k, t in enumerate(tickets)]\n"
        "        sampler.observe(step, outcomes)"
    )
    assert "Ticket" in printed(program)
