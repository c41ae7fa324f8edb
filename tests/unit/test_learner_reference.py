"""Loss and gradients of the learner equal a plain reference, for every estimator and loss, however it is batched."""

import pytest
import torch
from plain_policy import adapted_call, advantages, build, draw, loss_of, plain_call

from azrl.config.schema import Training
from azrl.rl.advantages import ESTIMATORS, estimate
from azrl.rl.learner import TorchLearner
from azrl.rl.types import Sample

LOSSES = ("token_mean", "sequence_mean")
BATCHING = ("shared", "padded", "packed")


def step(model, drawn, estimator="trr++", **settings):
    """The loss and the gradient, by parameter, of one optimizer step on all that was drawn."""
    config = Training(minibatches=1, max_grad_norm=1e9, **settings)
    subject = TorchLearner(model, config, pad_id=0)
    if config.lora_rank:  # as after some steps: B is no longer zero
        torch.manual_seed(1)
        for name, parameter in subject.model.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(parameter, std=0.05)
    prompts, tokens, logprobs, rewards, cells, groups = zip(*drawn, strict=True)
    worth = estimate(estimator, rewards, cells=cells, groups=groups, lengths=[len(t) for t in tokens])
    samples = [Sample(*row) for row in zip(prompts, tokens, logprobs, worth.tolist(), cells, strict=True)]
    gradients = {}

    def keep():
        gradients.update({n: p.grad.clone() for n, p in subject.model.named_parameters() if p.requires_grad})

    subject.optimizer.step = keep
    return subject, subject.update(samples, seed=0)["loss"], gradients


def close(found, wanted):
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        near = 1e-5 * max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-5, atol=near, msg=lambda m, n=name: f"{n}: {m}"
        )


def plain(kind, drawn, estimator, **settings):
    model = build(kind)
    loss = loss_of(plain_call(model), drawn, advantages(estimator, drawn), **settings)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("batching", BATCHING)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_and_loss(estimator, loss, batching):
    drawn = draw()
    value, gradients = plain("qwen2", drawn, estimator, loss=loss)
    _, found, ours = step(
        build(), drawn, estimator, loss=loss, batching=batching, importance_cap=None, micro_batch_tokens=70
    )
    assert found == pytest.approx(value, abs=1e-5)
    close(ours, gradients)


EXTRAS = {"cap": 1.5, "kl": 0.1, "entropy_bonus": 0.05}


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("head_tokens", [None, 7])
@pytest.mark.parametrize("batching", BATCHING)
@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
def test_every_term_on_every_shape(kind, batching, head_tokens, recompute):
    """With importance weights, KL penalty and entropy bonus; a chunked head; blocks that forget."""
    drawn = draw(seed=1)
    start = build(kind, seed=9)
    value, gradients = plain(kind, drawn, "rloo", loss="token_mean", start=plain_call(start), **EXTRAS)
    settings = {
        "batching": batching,
        "head_tokens": head_tokens,
        "gradient_checkpointing": recompute,
        "importance_cap": EXTRAS["cap"],
        "entropy_coeff": EXTRAS["entropy_bonus"],
        "use_kl": True,
        "kl_coeff": EXTRAS["kl"],
        "micro_batch_tokens": 90,
    }
    config = Training(minibatches=1, max_grad_norm=1e9, **settings)
    subject = TorchLearner(start, config, pad_id=0)  # the reference is the model that it starts from
    with torch.no_grad():
        for name, parameter in build(kind).named_parameters():
            subject.model.get_parameter(name).copy_(parameter)
    worth = advantages("rloo", drawn)
    samples = [Sample(*row[:3], float(a), row[4]) for row, a in zip(drawn, worth, strict=True)]
    ours = {}
    subject.optimizer.step = lambda: ours.update({n: p.grad.clone() for n, p in subject._named.items()})
    found = subject.update(samples, seed=0)["loss"]
    assert found == pytest.approx(value, abs=1e-5)
    close(ours, gradients)


@pytest.mark.parametrize("head_tokens", [None, 7])
@pytest.mark.parametrize("batching", BATCHING)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_adapters(kind, loss, batching, head_tokens):
    """LoRA: the gradients of A and B are those of W + alpha / rank * B A written out; the base has none."""
    drawn = draw(seed=2)
    subject, found, ours = step(
        build(kind),
        drawn,
        "grpo",
        loss=loss,
        batching=batching,
        head_tokens=head_tokens,
        lora_rank=3,
        lora_alpha=6.0,
        importance_cap=None,
        gradient_checkpointing=batching == "packed",
    )
    named = dict(subject.model.named_parameters())
    leaves = {name: p.detach().clone().requires_grad_() for name, p in named.items() if ".lora_" in name}
    assert leaves.keys() == ours.keys()
    prefixes = {name.partition(".lora_")[0] for name in leaves}
    assert len(prefixes) == 14  # seven matrices a block
    pairs = {
        f"{prefix}.weight": tuple(leaves[f"{prefix}.lora_{part}.default.weight"] for part in "AB")
        for prefix in prefixes
    }
    call = adapted_call(build(kind), pairs, 6.0 / 3)
    value = loss_of(call, drawn, advantages("grpo", drawn), loss=loss)
    value.backward()
    assert found == pytest.approx(value.item(), abs=1e-5)
    close(ours, {name: leaf.grad for name, leaf in leaves.items()})


def test_the_reference_sees_a_difference():
    """The comparison has teeth: another advantage, mask or clip range is far outside its tolerance."""
    drawn = draw()
    _, gradients = plain("qwen2", drawn, "grpo", loss="token_mean")
    for other in ({"estimator": "rloo"}, {"loss": "sequence_mean"}, {"clip_low": 0.1}):
        _, _, ours = step(build(), drawn, **({"estimator": "grpo", "importance_cap": None} | other))
        with pytest.raises(AssertionError):
            close(ours, gradients)
