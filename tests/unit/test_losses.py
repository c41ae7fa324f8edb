"""The policy loss against numbers worked by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from azrl.rl.losses import k3, policy_loss, token_weights

VERL = json.loads(Path(__file__).with_name("verl_numbers.json").read_text())
CLIP = {"clip_low": 0.2, "clip_high": 0.28}


def tensors(*rows):
    return [torch.tensor(row, dtype=torch.float64) for row in rows]


def test_token_weights():
    assert token_weights([1, 3], "token_mean") == [0.25, 0.25]
    assert token_weights([1, 4], "sequence_mean") == [0.5, 0.125]
    with pytest.raises(ValueError, match="token_mean, sequence_mean"):
        token_weights([1], "mean")


def test_clip_table():
    """Ratios 1.5, 0.5, 1.5, 0.5, 1.1, 1.27 with advantages 1, 1, -1, -1, 2, 1 and range [0.8, 1.28]: the
    smaller of ratio A and clipped A is 1.28, 0.5, -1.5, -0.8, 2.2, 1.27, of which 1 and 4 are clipped."""
    ratios, advantages, weights = tensors(
        [1.5, 0.5, 1.5, 0.5, 1.1, 1.27], [1, 1, -1, -1, 2, 1], [0.1, 0.2, 0.1, 0.2, 0.3, 0.1]
    )
    logprobs = (ratios.log() - 3).requires_grad_()
    loss, metrics = policy_loss(logprobs, torch.full_like(ratios, -3), advantages, weights, **CLIP)
    assert loss.item() == pytest.approx(-(0.128 + 0.1 - 0.15 - 0.16 + 0.66 + 0.127), abs=1e-12)
    loss.backward()  # d/dlogp of -w r A, and zero where clipped
    assert logprobs.grad.tolist() == pytest.approx([0, -0.1, 0.15, 0, -0.66, -0.127], abs=1e-12)
    assert metrics["clip_fraction"] == pytest.approx(2 / 6)
    assert metrics["ratio_mean"] == pytest.approx(6.37 / 6)
    assert metrics["ratio_max"] == pytest.approx(1.5)
    assert metrics["kl"] == pytest.approx(sum(r - 1 - math.log(r) for r in ratios.tolist()) / 6)


def test_importance_scales_a_token():
    logprobs, importance, weights = tensors([-1.0, -1.0, -2.0], [1.0, 1.5, 0.0], [0.5, 0.25, 0.25])
    logprobs.requires_grad_()
    loss, _ = policy_loss(logprobs, logprobs.detach(), torch.ones(3), weights, importance=importance, **CLIP)
    assert loss.item() == pytest.approx(-(0.5 + 0.375 + 0.0))
    loss.backward()
    assert logprobs.grad.tolist() == pytest.approx([-0.5, -0.375, 0.0])


@pytest.mark.parametrize("case", VERL["policy_loss"], ids=lambda case: case["loss"])
def test_the_clipped_loss_is_verls(case):
    """Recorded from verl's compute_policy_loss_vanilla, clip 0.2 below and 0.28 above."""
    logprobs, old, advantages = (
        torch.tensor([x for row in VERL[name] for x in row], dtype=torch.float64)
        for name in ("new", "old", "advantages")
    )
    each = token_weights(VERL["lengths"], case["loss"])
    weights = torch.tensor(np.repeat(each, VERL["lengths"]))
    loss, metrics = policy_loss(logprobs, old, advantages, weights, **CLIP)
    assert loss.item() == pytest.approx(case["value"], abs=1e-8)
    assert metrics["clip_fraction"] == pytest.approx(case["clip_fraction"], abs=1e-6)


def test_k3_is_verls():
    new, reference = tensors(*(VERL[name][0] for name in ("new", "reference")))
    assert k3(reference - new).tolist() == pytest.approx(VERL["k3"][0], abs=1e-9)


def test_reference_and_entropy_terms():
    """log reference/new is log 2 on token one: k3 = 2 - 1 - log 2; entropies 1, 3; weights 1/4, 3/4."""
    logprobs, reference, weights, entropy = tensors(
        [-1.0, -1.0], [-1.0 + math.log(2), -1.0], [0.25, 0.75], [1, 3]
    )
    loss, metrics = policy_loss(
        logprobs,
        logprobs,
        torch.zeros(2),
        weights,
        reference_logprobs=reference,
        kl_coeff=0.1,
        entropy=entropy,
        entropy_coeff=0.01,
        **CLIP,
    )
    penalty = 1 - math.log(2)
    assert loss.item() == pytest.approx(0.1 * 0.25 * penalty - 0.01 * (0.25 + 2.25))
    assert metrics["kl_reference"] == pytest.approx(penalty / 2)


def test_k3_is_an_unbiased_kl():
    """Sum over p of k3 = sum p (q/p - 1 - log q/p) = KL(p || q) exactly."""
    p, q = tensors([0.5, 0.3, 0.2], [0.2, 0.5, 0.3])
    assert (p * k3((q / p).log())).sum().item() == pytest.approx((p * (p / q).log()).sum().item(), abs=1e-12)


def test_tokens_without_weight_count_for_nothing():
    logprobs, advantages, weights = tensors(
        [[-1.0, -2.0], [-1.0, 0.0]], [[1, 1], [-1, 9]], [[0.5, 0.2], [0.3, 0]]
    )
    padded, metrics = policy_loss(logprobs, logprobs - 0.1, advantages, weights, **CLIP)
    kept = weights > 0
    flat, same = policy_loss(logprobs[kept], logprobs[kept] - 0.1, advantages[kept], weights[kept], **CLIP)
    assert padded.item() == pytest.approx(flat.item())
    assert metrics == pytest.approx(same)
    nothing, none = policy_loss(logprobs, logprobs, advantages, torch.zeros(2, 2), **CLIP)
    assert (nothing.item(), none) == (0.0, {})


def test_absurd_ratios_stay_finite():
    logprobs = torch.tensor([0.0, -900.0], requires_grad=True)
    loss, _ = policy_loss(
        logprobs, torch.tensor([-900.0, 0.0]), torch.tensor([-1.0, 1.0]), torch.ones(2), **CLIP
    )
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logprobs.grad).all()
