"""Advantage estimators against tables worked by hand and formulas from the papers and libraries they name."""

import json
import statistics
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azrl.rl.advantages import ESTIMATORS, CellBaseline, estimate

SOLVER, PROPOSER = ("deduction", "solver"), ("deduction", "proposer")


def close(actual, expected, tolerance=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def test_trr_normalises_each_cell_apart():
    """Solver rewards 1, 0, 0, 1: mean 0.5, std 0.5. Proposer rewards 3, 1: mean 2, std 1."""
    rewards = [1.0, 3.0, 0.0, 0.0, 1.0, 1.0]
    cells = [SOLVER, PROPOSER, SOLVER, SOLVER, PROPOSER, SOLVER]
    close(estimate("TRR++", rewards, cells=cells), [1, 1, -1, -1, -1, 1])


def test_trr_and_its_token_weighted_form_differ_as_the_arithmetic_says():
    """32 right answers of 300 tokens and 32 wrong of 4500: a sixteenth of the tokens are right, so the token
    mean is -0.5 + 1.5/16 = -0.40625 and the token std 1.5 * sqrt(15)/16 = 0.363092."""
    rewards, cells = [1.0] * 32 + [-0.5] * 32, [SOLVER] * 64
    close(estimate("trr++", rewards, cells=cells), [1.0] * 32 + [-1.0] * 32)
    token = estimate("trr++_token", rewards, cells=cells, lengths=[300] * 32 + [4500] * 32)
    close(token, [1.40625 / 0.363092] * 32 + [-0.09375 / 0.363092] * 32, 1e-4)


def test_trr_token_uses_bessel_over_tokens():
    """Rewards 1 (1 token) and 0 (3 tokens): mean 1/4, var (9/16 + 3/16) / 3 = 1/4, std 1/2."""
    close(estimate("trr++_token", [1, 0], cells=[SOLVER] * 2, lengths=[1, 3]), [1.5, -0.5])


def test_trr_token_equals_whitening_every_token_of_the_cell():
    """The published definition on the expanded token list, by the statistics module (sample variance)."""
    rewards, lengths = [1.0, -0.5, -1.0, 1.0, -0.5], [7, 31, 2, 12, 5]
    tokens = [r for r, n in zip(rewards, lengths, strict=True) for _ in range(n)]
    mean, variance = statistics.fmean(tokens), statistics.variance(tokens)
    expected = [(r - mean) / (variance + 1e-8) ** 0.5 for r in rewards]
    close(estimate("trr++_token", rewards, cells=[SOLVER] * 5, lengths=lengths), expected, 1e-12)


def test_reinforce_whitens_across_cells():
    """Rewards 0, 0, 0, 4: mean 1, population variance 3."""
    cells = [SOLVER, SOLVER, PROPOSER, PROPOSER]
    close(estimate("reinforce++", [0, 0, 0, 4], cells=cells), np.array([-1, -1, -1, 3]) / 3**0.5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # group a: 1, 0, 0, 0 (mean 1/4, unbiased variance 1/4); group b: 1, 1, 0 (2/3 and 1/3)
        ("grpo", [0.75 / 0.5001, *[-0.25 / 0.5001] * 3, *[1 / 3 / 0.5774503] * 2, -2 / 3 / 0.5774503]),
        ("rloo", [1, -1 / 3, -1 / 3, -1 / 3, 0.5, 0.5, -1]),
        ("dr_grpo", [0.75, -0.25, -0.25, -0.25, 1 / 3, 1 / 3, -2 / 3]),
    ],
)  # fmt: skip
def test_group_estimators(name, expected):
    order = [3, 0, 5, 1, 4, 2, 6]  # groups need not be contiguous
    rewards = np.array([1, 0, 0, 0, 1, 1, 0])[order]
    groups = np.array(list("aaaabbb"))[order].tolist()
    close(estimate(name, rewards, cells=[SOLVER] * 7, groups=groups), np.array(expected)[order])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_nothing_to_compare_gives_zero(name):
    rewards = [0.1, 0.1, 0.1, -1.0]  # one cell without variance, one with a single member
    arguments = {"groups": ["a", "a", "a", "b"], "lengths": [3, 4, 5, 6]}
    cells = [SOLVER, SOLVER, SOLVER, PROPOSER]
    if name == "reinforce++":
        rewards = [0.1] * 4
    assert estimate(name, rewards, cells=cells, **arguments).tolist() == [0.0] * 4
    assert estimate(name, [], cells=[], groups=[], lengths=[]).shape == (0,)


@given(
    name=st.sampled_from(ESTIMATORS),
    rows=st.lists(
        st.tuples(
            st.floats(-2, 2), st.sampled_from([SOLVER, PROPOSER]), st.integers(0, 2), st.integers(1, 50)
        ),
        max_size=12,
    ),
    with_baseline=st.booleans(),
)
def test_always_finite_and_in_the_order_of_rewards(name, rows, with_baseline):
    rewards, cells, groups, lengths = ([row[i] for row in rows] for i in range(4))
    baseline = CellBaseline(4.0, 0.9) if with_baseline else None
    advantages = estimate(name, rewards, cells=cells, groups=groups, lengths=lengths, baseline=baseline)
    assert np.isfinite(advantages).all()
    assert advantages.dtype == np.float64
    labels = groups if name in ("grpo", "rloo", "dr_grpo") else cells
    for i in range(len(rows)):
        for j in range(len(rows)):
            if labels[i] == labels[j] and rewards[i] < rewards[j]:
                assert advantages[i] <= advantages[j]


def test_baseline_shrinks_then_learns():
    """Running cell: 4 samples of mean 0 and second moment 1. Then a sample of reward 1 with prior 3: weight
    3/4, mean 1/4, second moment 1, std sqrt(15)/4, A = 3/sqrt(15). With decay 1/2: count 3, sum 1."""
    baseline = CellBaseline(prior=3.0, decay=0.5)
    first = estimate("trr++", [1, -1, 1, -1], cells=[SOLVER] * 4, baseline=baseline)
    close(first, [1, -1, 1, -1])  # no history: the batch stands on its own
    close(estimate("trr++", [1], cells=[SOLVER], baseline=baseline), [3 / 15**0.5])
    assert baseline.state_dict() == {"cells": [[["deduction", "solver"], 3.0, 1.0, 3.0]]}
    # next: running mean 1/3, second moment 1; a reward of 1/3 in a batch of one
    close(estimate("trr++", [1 / 3], cells=[SOLVER], baseline=baseline), [0.0])


def test_baseline_without_prior_is_plain_trr():
    baseline = CellBaseline(prior=0.0, decay=0.9)
    for rewards in ([1, 0, 0], [1, 1, 0, 0.5]):
        cells = [SOLVER] * len(rewards)
        close(
            estimate("trr++", rewards, cells=cells, baseline=baseline),
            estimate("trr++", rewards, cells=cells),
        )


def test_baseline_state_survives_json():
    one, other = CellBaseline(8.0, 0.9), CellBaseline(8.0, 0.9)
    rewards, cells = [0.1, 0.7, -1.0, 1 / 3], [SOLVER, SOLVER, PROPOSER, SOLVER]
    estimate("trr++", rewards, cells=cells, baseline=one)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    a, b = (estimate("trr++", [0.2, 1.0, 0.3], cells=cells[:3], baseline=x) for x in (one, other))
    assert a.tolist() == b.tolist()
    assert one.state_dict() == other.state_dict()


@pytest.mark.parametrize("state", [{}, {"cells": [["a"]]}, {"cells": [[["a", "b"], 0.0, 1.0, 1.0]]}])
def test_baseline_refuses_a_damaged_state(state):
    with pytest.raises(ValueError, match="cell baseline"):
        CellBaseline(1.0, 0.9).load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("ppo", {}, "unknown estimator 'ppo'"),
        ("grpo", {}, "give groups"),
        ("trr++_token", {}, "give lengths"),
        ("trr++_token", {"lengths": [1, 0]}, "at least 1"),
        ("rloo", {"groups": ["a"]}, "2 rewards but 1 groups"),
        ("trr++", {"rewards": [1.0, float("nan")]}, "finite"),
    ],
)
def test_bad_calls_say_why(name, arguments, reason):
    with pytest.raises(ValueError, match=reason):
        estimate(name, arguments.pop("rewards", [1.0, 0.0]), cells=[SOLVER] * 2, **arguments)


def test_advantages_do_not_import_torch():
    code = "import sys, azrl.rl.advantages; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
