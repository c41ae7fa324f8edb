"""Curricula and the sampler: what they refuse, what they draw, and that a resumed run draws the same."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
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


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_algorithm_resumes_through_json(name):
    curriculum = build_curriculum(name, arms=ARMS)
    for step in range(5):
        curriculum.update(step, [Outcome("deduction", f"t{step}", (1.0, -0.5, 0.0), 30)])
    resumed = build_curriculum(name, arms=ARMS)
    resumed.load_state_dict(json.loads(json.dumps(curriculum.state_dict())))
    assert resumed.probabilities(5).tolist() == curriculum.probabilities(5).tolist()
    assert math.isclose(curriculum.probabilities(5).sum(), 1.0)


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


def test_draws_do_not_depend_on_the_hash_seed():
    program = (
        "from azrl.curriculum import *\n"
        "sampler = CurriculumSampler(build_curriculum('uniform', arms=tuple('abcde')), 7)\n"
        "print([sampler.draw(step, 13) for step in range(5)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
    assert "a" in outputs.pop()
