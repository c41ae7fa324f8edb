"""The value head and its critic: verl's loss, no word to the policy, and it learns what can be learned."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from azrl.config.schema import Training
from azrl.errors import UserError
from azrl.rl.critic import Critic
from azrl.rl.value import ValueHead, value_loss

VERL = json.loads(Path(__file__).with_name("verl_numbers.json").read_text())


def flat(name):
    return torch.tensor([x for row in VERL[name] for x in row], dtype=torch.float64)


@pytest.mark.parametrize("case", VERL["value_loss"], ids=lambda case: str(case["clip"]))
def test_the_loss_is_verls(case):
    """Recorded from verl's compute_value_loss."""
    returns = torch.tensor([x for row in VERL["gae"][-1]["returns"] for x in row], dtype=torch.float64)
    loss, clipped = value_loss(flat("predicted"), returns, flat("values"), case["clip"])
    assert loss.item() == pytest.approx(case["loss"], abs=1e-8)
    assert clipped.double().mean().item() == pytest.approx(case["clip_fraction"], abs=1e-6)


def test_a_value_beyond_the_clip_is_pulled_no_further():
    """From 0 towards a return of 1 with clip 0.2: at 0.3 the clipped error 0.8 decides and has no gradient; at
    0.1 the plain one."""
    predicted = torch.tensor([0.3, 0.1], requires_grad=True)
    loss, clipped = value_loss(predicted, torch.ones(2), torch.zeros(2), 0.2)
    assert loss.item() == pytest.approx((0.8**2 + 0.9**2) / 4)
    loss.backward()
    assert predicted.grad.tolist() == pytest.approx([0.0, -0.45])
    assert clipped.tolist() == [True, False]
    unclipped, _ = value_loss(predicted, torch.ones(2), torch.zeros(2), None)
    assert unclipped.item() == pytest.approx((0.7**2 + 0.9**2) / 4)


def test_a_new_head_says_nothing_and_is_a_function_of_its_seed():
    state = torch.random.get_rng_state()
    one, same, other = ValueHead(16, 3), ValueHead(16, 3), ValueHead(16, 4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one(torch.randn(5, 16)).tolist() == [0.0] * 5
    assert torch.equal(one.inner.weight, same.inner.weight)
    assert not torch.equal(one.inner.weight, other.inner.weight)


def critic(**settings):
    return Critic(8, Training(**settings), torch.device("cpu"))


def test_it_learns_a_linear_value():
    subject = critic(value_learning_rate=1e-2, value_clip=None)
    states = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
    returns = torch.nn.functional.rms_norm(states, (8,))[:, 0]
    first = subject.fit(states, returns, subject.values(states), seed=0)
    assert first["explained_variance"] == pytest.approx(0.0, abs=1e-6)
    for step in range(60):
        metrics = subject.fit(states, returns, subject.values(states), seed=step)
    assert metrics["explained_variance"] > 0.95
    assert metrics["value_loss"] < 0.1 * first["value_loss"]


def test_equal_returns_have_no_variance_to_explain():
    subject = critic()
    metrics = subject.fit(torch.randn(4, 8), torch.ones(4), torch.zeros(4), seed=0)
    assert set(metrics) == {"value_loss", "value_clip_fraction"}
    assert np.isfinite(list(metrics.values())).all()


def test_fewer_tokens_than_minibatches():
    assert (
        critic(minibatches=8).fit(torch.randn(1, 8), torch.ones(1), torch.zeros(1), seed=0)["value_loss"] > 0
    )


def test_a_loss_that_runs_away_is_an_error():
    subject = critic()
    with pytest.raises(UserError, match="value_learning_rate"):
        subject.fit(torch.randn(4, 8), torch.full((4,), float("inf")), torch.zeros(4), seed=0)
