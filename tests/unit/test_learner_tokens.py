"""What the learner does token by token: temperature, masks and advantages, against the plain arithmetic."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_policy import advantages, build, distributions, draw, loss_of, plain_call

from azrl.config.schema import Training
from azrl.rl.learner import TorchLearner
from azrl.rl.types import Sample


def samples_of(drawn, worth):
    return [Sample(*row[:3], float(a), row[4]) for row, a in zip(drawn, worth, strict=True)]


def learner(model, temperature=1.0, **settings):
    config = Training(**{"minibatches": 1, "max_grad_norm": 1e9, **settings})
    return TorchLearner(model, config, pad_id=0, temperature=temperature)


def norm_of(loss, model):
    return torch.nn.utils.get_total_norm(torch.autograd.grad(loss, list(model.parameters()))).item()


@pytest.mark.parametrize("head_tokens", [None, 7])
def test_the_policy_that_is_trained_is_the_one_that_sampled(head_tokens):
    """Rollouts at temperature 0.7: given it, the trainer finds the sampler's own probabilities, and loss, gradient
    and entropy are those of the softmax of logits / 0.7; not given it, it sees a mismatch that is not one."""
    model, drawn = build(), draw()
    with torch.no_grad():
        model.model.norm.weight.mul_(8)  # logits that a temperature tells apart

    def tempered(ids, attention):
        return plain_call(model)(ids, attention) / 0.7

    table, wanted, mask = distributions(tempered, drawn)
    chosen = table.gather(2, wanted[..., None])[..., 0]
    drawn = [
        (*row[:2], tuple(p[m].tolist()), *row[3:]) for row, p, m in zip(drawn, chosen, mask, strict=True)
    ]
    worth = advantages("reinforce++", drawn)
    norm = norm_of(loss_of(tempered, drawn, worth, loss="token_mean", cap=2.0), model)
    entropy = -(table.exp() * table).sum(-1)[mask].mean().item()
    found = {
        temperature: learner(copy.deepcopy(model), temperature, use_kl=True, head_tokens=head_tokens).update(
            samples_of(drawn, worth), seed=0
        )
        for temperature in (0.7, 1.0)
    }
    assert found[0.7]["mismatch_kl"] < 1e-8
    assert found[0.7]["importance_mean"] == pytest.approx(1.0, abs=1e-4)
    assert found[0.7]["importance_beyond"] == 0.0
    assert found[0.7]["kl_reference"] == pytest.approx(0.0, abs=1e-9)
    assert found[0.7]["entropy_exact"] == pytest.approx(entropy, rel=1e-4)
    assert found[0.7]["grad_norm"] == pytest.approx(norm, rel=1e-3)
    assert found[1.0]["mismatch_kl"] > 0.01


def test_a_masked_sequence_has_no_gradient():
    """One that the sampler would hardly have written is left out; the rest learns as if its advantage were 0."""
    drawn = draw(8)
    start = learner(build()).score([row[:2] for row in drawn])
    drawn = [(*row[:2], tuple(p), *row[3:]) for row, p in zip(drawn, start, strict=True)]
    samples = samples_of(drawn, np.arange(8) - 3.0)
    strange = replace(samples[2], logprobs=tuple(p - 1.0 for p in samples[2].logprobs))
    harmless = replace(samples[2], advantage=0.0)
    masked, without = (learner(build(), importance_mode="sequence_mask") for _ in range(2))
    metrics = masked.update([*samples[:2], strange, *samples[3:]], seed=0)
    same = without.update([*samples[:2], harmless, *samples[3:]], seed=0)
    tokens = [len(sample.token_ids) for sample in samples]
    assert metrics["importance_beyond"] == pytest.approx(tokens[2] / sum(tokens))
    assert same["importance_beyond"] == 0.0
    assert metrics["grad_norm"] == pytest.approx(same["grad_norm"], rel=1e-5)
    for name, value in masked.weights().items():
        torch.testing.assert_close(value, without.weights()[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("batching", ["shared", "packed", "padded"])
def test_each_token_may_have_its_own_advantage(batching):
    """Against PPO-clip on all completion tokens, each with its own A."""
    model, drawn = build(), draw(6)
    rng = np.random.default_rng(3)
    worth = [rng.normal(size=len(row[1])) for row in drawn]
    samples = [
        replace(sample, token_advantages=tuple(each.tolist()))
        for sample, each in zip(samples_of(drawn, [9.0] * 6), worth, strict=True)
    ]
    table, wanted, mask = distributions(plain_call(model), drawn)
    ratio = table.gather(2, wanted[..., None])[..., 0][mask]
    ratio = (ratio - torch.tensor([p for row in drawn for p in row[2]])).exp()
    a = torch.tensor(np.concatenate(worth), dtype=torch.float32)
    loss = -torch.minimum(ratio * a, ratio.clamp(0.8, 1.28) * a).mean()
    norm = norm_of(loss, model)
    subject = learner(model, importance_cap=None, batching=batching, micro_batch_tokens=60)
    metrics = subject.update(samples, seed=0)
    assert metrics["loss"] == pytest.approx(loss.item(), abs=1e-6)
    assert metrics["grad_norm"] == pytest.approx(norm, rel=1e-4)
