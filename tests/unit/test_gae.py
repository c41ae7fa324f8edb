"""Advantages of tokens: verl's numbers, the sums in the papers, and the ends of the scale."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azrl.rl.advantages import estimate
from azrl.rl.gae import gae, token_rewards, whiten

VERL = json.loads(Path(__file__).with_name("verl_numbers.json").read_text())


def rows(name):
    return [np.array(row) for row in VERL[name]]


@pytest.mark.parametrize("case", VERL["gae"], ids=lambda case: f"{case['gamma']}-{case['lam']}")
def test_advantages_and_returns_are_verls(case):
    """Recorded from verl's compute_gae_advantage_return, which whitens the advantages."""
    found = [
        gae(token_rewards(score, len(values)), values, gamma=case["gamma"], lam=case["lam"])
        for score, values in zip(VERL["scores"], rows("values"), strict=True)
    ]
    for (_, returns), expected in zip(found, case["returns"], strict=True):
        np.testing.assert_allclose(returns, expected, rtol=0, atol=1e-12)
    for ours, expected in zip(
        whiten([advantages for advantages, _ in found]), case["advantages"], strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-7)


def test_whitening_is_verls():
    for ours, expected in zip(whiten(rows("values")), VERL["whitened_values"], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-7)


def test_rewards_with_a_penalty_are_verls():
    """verl's compute_rewards with coefficient 0.1."""
    for score, old, reference, expected in zip(
        VERL["scores"], rows("old"), rows("reference"), VERL["kl_rewards"], strict=True
    ):
        ours = token_rewards(score, len(old), 0.1 * (old - reference))
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


def test_by_hand():
    """Values 1, 2, 3 and reward 4 at the end, gamma 1/2, lambda 1/2: delta = 0, -1/2, 1 and
    A = 0 + (-1/4)/4, -1/2 + 1/4, 1."""
    advantages, returns = gae(token_rewards(4.0, 3), np.array([1.0, 2.0, 3.0]), gamma=0.5, lam=0.5)
    np.testing.assert_allclose(advantages, [-0.0625, -0.25, 1.0])
    np.testing.assert_allclose(returns, [0.9375, 1.75, 4.0])


@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=1, max_size=12),
    st.floats(0.01, 1.0),
    st.floats(0.0, 1.0),
)
def test_it_is_the_sum_of_the_paper(steps, gamma, lam):
    """Schulman et al., Eq. 16, written out: A_t = sum over l of (gamma lam)^l delta_{t+l}."""
    rewards, values = np.array(steps).T
    after = np.append(values[1:], 0.0)
    delta = rewards + gamma * after - values
    n = len(steps)
    expected = [sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, n)) for t in range(n)]
    advantages, returns = gae(rewards, values, gamma=gamma, lam=lam)
    np.testing.assert_allclose(advantages, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(returns, np.array(expected) + values, rtol=0, atol=1e-9)


def test_without_discount_and_bias_the_return_is_the_reward():
    advantages, returns = gae(token_rewards(-0.5, 4), np.array([0.3, -1.0, 0.0, 9.0]), gamma=1.0, lam=1.0)
    np.testing.assert_allclose(returns, [-0.5] * 4)
    np.testing.assert_allclose(advantages, [-0.8, 0.5, -0.5, -9.5])


def test_without_values_it_is_the_token_weighted_baseline():
    """V = 0, gamma = lambda = 1: whitened advantages are AZR's trr++_token with a single cell."""
    rewards, lengths = [1.0, -0.5, -1.0, 1.0], [7, 31, 2, 12]
    parts = [
        gae(token_rewards(r, n), np.zeros(n), gamma=1.0, lam=1.0)[0]
        for r, n in zip(rewards, lengths, strict=True)
    ]
    expected = estimate("trr++_token", rewards, cells=[("deduction", "solver")] * 4, lengths=lengths)
    for part, value in zip(whiten(parts), expected, strict=True):
        np.testing.assert_allclose(part, value, rtol=0, atol=1e-9)


@pytest.mark.parametrize("parts", [[[3.0]], [[0.1, 0.1], [0.1]]])
def test_nothing_to_compare_whitens_to_zero(parts):
    assert [part.tolist() for part in whiten([np.array(part) for part in parts])] == [
        [0.0] * len(p) for p in parts
    ]
