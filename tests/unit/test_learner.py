"""The learner: equal to a plain padded reference, indifferent to micro-batches, resumable, and it learns."""

import json
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from azrl.config.schema import Training
from azrl.errors import UserError
from azrl.rl.learner import NonFinite, TorchLearner
from azrl.rl.types import Sample

PLAIN = {"minibatches": 1, "importance_cap": None, "max_grad_norm": 1e9}
CELL = ("deduction", "solver")


def build(seed=0, hidden=32, layers=2):
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=48,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=1,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    return Qwen2ForCausalLM(config).eval()


def learner(model=None, *, dtype=torch.float32, on_failure=None, **settings):
    config = Training(**settings)
    return TorchLearner(model or build(), config, pad_id=0, dtype=dtype, on_failure=on_failure)


def draw(count=24, seed=0, prompts=6):
    """Samples of uneven length, several a prompt, with sampler log-probabilities near the model's."""
    rng = np.random.default_rng(seed)
    shared = [tuple(rng.integers(1, 48, rng.integers(3, 9)).tolist()) for _ in range(prompts)]
    samples = []
    for i in range(count):
        tokens = tuple(rng.integers(1, 48, rng.integers(1, 12)).tolist())
        logprobs = tuple((-math.log(48) + 0.1 * rng.normal(size=len(tokens))).tolist())
        samples.append(Sample(shared[i % prompts], tokens, logprobs, float(rng.normal()), CELL))
    return samples


def padded_logprobs(model, samples):
    """The plain way: right-padded rows, an attention mask, all logits. Log-probabilities and mask, [B, T]."""
    rows = [(*sample.prompt_ids, *sample.token_ids) for sample in samples]
    width = max(map(len, rows))
    ids, attention, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(3))
    for i, (row, sample) in enumerate(zip(rows, samples, strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        attention[i, : len(row)] = 1
        mask[i, len(sample.prompt_ids) : len(row)] = 1
    logits = model(input_ids=ids, attention_mask=attention).logits
    found = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    return found, mask[:, 1:].bool()


def test_score_equals_the_padded_reference():
    samples = draw()
    subject = learner()
    with torch.no_grad():
        found, mask = padded_logprobs(subject.model, samples)
    scores = subject.score([(sample.prompt_ids, sample.token_ids) for sample in samples] + [((1,), ())])
    assert scores.pop() == []
    for row, kept, score in zip(found, mask, scores, strict=True):
        assert score == pytest.approx(row[kept].tolist(), abs=1e-5)


def reference_loss(model, samples, loss):
    """PPO-clip written out over the padded batch: the loss, the ratios and the mask."""
    found, mask = padded_logprobs(model, samples)
    old = torch.zeros_like(found)
    for i, sample in enumerate(samples):
        old[i, mask[i]] = torch.tensor(sample.logprobs)
    advantages = torch.tensor([sample.advantage for sample in samples])[:, None]
    ratio = ((found - old) * mask).exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.28) * advantages) * mask
    if loss == "token_mean":
        return -surrogate.sum() / mask.sum(), ratio, mask
    return -(surrogate.sum(1) / mask.sum(1)).mean(), ratio, mask


@pytest.mark.parametrize("loss", ["token_mean", "sequence_mean"])
@pytest.mark.parametrize("budget", [60, 100_000])
def test_a_step_equals_a_plain_padded_reference(loss, budget, monkeypatch):
    """Loss and metrics; the gradient to 1e-5 of its size, before AdamW hides its scale; the new weights."""
    samples, model = draw(), build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.0)
    total, ratio, mask = reference_loss(model, samples, loss)
    total.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    optimizer.step()

    subject = learner(loss=loss, micro_batch_tokens=budget, **PLAIN)
    gradients = {}
    take_step = subject.optimizer.step

    def keep_gradients():
        gradients.update({name: p.grad.clone() for name, p in subject.model.named_parameters()})
        take_step()

    monkeypatch.setattr(subject.optimizer, "step", keep_gradients)
    metrics = subject.update(samples, seed=0)
    assert metrics["loss"] == pytest.approx(total.item(), abs=1e-6)
    assert metrics["grad_norm"] == pytest.approx(norm.item(), rel=1e-5)
    difference = ratio.log()[mask]
    assert metrics["kl"] == pytest.approx((difference.exp() - 1 - difference).mean().item(), rel=1e-4)
    assert metrics["ratio_max"] == pytest.approx(ratio[mask].max().item(), rel=1e-5)
    for name, p in model.named_parameters():
        close = 1e-5 * p.grad.abs().max().item()
        torch.testing.assert_close(gradients[name], p.grad, rtol=1e-5, atol=close)
        torch.testing.assert_close(subject.weights()[name], p.detach(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("settings", [{}, {"use_kl": True, "kl_coeff": 0.1, "entropy_coeff": 0.01}])
def test_micro_batches_change_nothing(settings):
    samples = draw(40)
    found = []
    for budget in (40, 300, 100_000):
        subject = learner(
            micro_batch_tokens=budget, minibatches=3, ppo_epochs=2, learning_rate=1e-3, **settings
        )
        metrics = subject.update(samples, seed=5)
        found.append((metrics, subject.score([(s.prompt_ids, s.token_ids) for s in samples])))
        assert subject.version == 6
    for metrics, scores in found[1:]:
        assert metrics == pytest.approx(found[0][0], rel=1e-3, abs=1e-6)
        for ours, theirs in zip(scores, found[0][1], strict=True):
            assert ours == pytest.approx(theirs, abs=2e-5)


def test_loss_is_the_same_to_rounding_however_it_is_cut():
    losses = [
        learner(micro_batch_tokens=budget, **PLAIN).update(draw(40), seed=0)["loss"]
        for budget in (20, 77, 9999)
    ]
    assert max(losses) - min(losses) < 1e-6


def test_the_trainers_own_policy_is_the_old_one():
    """With a cap the first step's ratios are exactly 1; the mismatch to the sampler shows apart from them,
    and later minibatches are compared with the policy as it was when the update began."""
    samples = draw(40)
    one = learner(minibatches=1).update(samples, seed=0)
    assert (one["ratio_max"], one["kl"], one["clip_fraction"]) == (1.0, 0.0, 0.0)
    assert one["mismatch_kl"] > 1e-3
    start = learner().score([(s.prompt_ids, s.token_ids) for s in samples])
    terms = [
        -s.advantage * min(math.exp(ours - theirs), 2.0)
        for s, row in zip(samples, start, strict=True)
        for ours, theirs in zip(row, s.logprobs, strict=True)
    ]
    assert one["loss"] == pytest.approx(np.mean(terms), rel=1e-4)
    subject = learner(minibatches=4, learning_rate=1e-2)
    start = [np.array(s) for s in subject.score([(s.prompt_ids, s.token_ids) for s in samples])]
    difference = np.concatenate(start) - np.concatenate([sample.logprobs for sample in samples])
    four = subject.update(samples, seed=0)
    assert four["kl"] > 0
    assert four["ratio_max"] > 1
    assert four["mismatch_kl"] == pytest.approx(np.mean(np.exp(difference) - 1 - difference), rel=1e-4)
    assert four["importance_mean"] == pytest.approx(np.mean(np.exp(difference).clip(max=2.0)), rel=1e-4)


def test_entropy_and_reference_metrics():
    samples = draw()
    subject = learner(use_kl=True, kl_coeff=1.0, minibatches=1, learning_rate=1e-2)
    first = subject.update(samples, seed=0)
    assert first["kl_reference"] == 0.0
    assert first["entropy_exact"] == pytest.approx(math.log(48), abs=0.05)  # a random model is nearly uniform
    assert subject.update(samples, seed=1)["kl_reference"] > 0
    bonus = learner(minibatches=1, entropy_coeff=0.5).update(samples, seed=0)
    assert bonus["loss"] == pytest.approx(first["loss"] - 0.5 * first["entropy_exact"], rel=1e-5)


def test_the_reference_holds_the_policy_back():
    """The same steps end nearer to the start with a heavy penalty than without one."""
    found = {}
    for coefficient in (0.0, 20.0):
        subject = learner(use_kl=True, kl_coeff=coefficient, minibatches=1, learning_rate=3e-3)
        for _ in range(8):
            metrics = subject.update(draw(), seed=0)
        found[coefficient] = metrics["kl_reference"]
    assert found[20.0] < 0.5 * found[0.0]


def test_the_learning_rate_falls_with_the_run_when_it_is_asked_to():
    rates = {}
    for schedule in ("constant", "linear"):
        subject = learner(lr_schedule=schedule, warmup_steps=2, minibatches=1, learning_rate=1e-3)
        rates[schedule] = [subject.update(draw(), seed=0, progress=p)["lr"] for p in (0.0, 0.25, 0.75, 1.0)]
    assert rates["constant"] == pytest.approx([0.5e-3, 1e-3, 1e-3, 1e-3])
    assert rates["linear"] == pytest.approx([0.5e-3, 0.75e-3, 0.25e-3, 0.0])


def test_warm_up_is_linear():
    subject = learner(warmup_steps=4, minibatches=1, learning_rate=1e-3)
    rates = [subject.update(draw(), seed=step)["lr"] for step in range(6)]
    assert rates == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3])


def test_update_depends_on_its_seed_alone():
    torch.manual_seed(1)
    one = learner(minibatches=3)
    first = one.update(draw(), seed=7)
    torch.manual_seed(2)
    other, third = learner(minibatches=3), learner(minibatches=3)
    assert other.update(draw(), seed=7) == first
    assert all(torch.equal(a, other.weights()[n]) for n, a in one.weights().items())
    third.update(draw(), seed=8)
    assert not all(torch.equal(a, third.weights()[n]) for n, a in one.weights().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_learns_a_bandit(dtype):
    """One context, +1 for one token and -1/47 for the others: its probability climbs from 1/48."""
    subject = learner(build(), learning_rate=3e-3, minibatches=1, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    prompt, good = (5, 6, 7), 11

    def probability():
        return math.exp(subject.score([(prompt, (good,))])[0][0])

    assert probability() < 0.05
    for step in range(40):
        logprobs = np.array(subject.score([(prompt, (token,)) for token in range(48)]))[:, 0]
        tokens = torch.multinomial(torch.tensor(logprobs).exp(), 64, replacement=True, generator=generator)
        samples = [
            Sample(prompt, (token,), (logprobs[token],), 1.0 if token == good else -1 / 47, CELL)
            for token in tokens.tolist()
        ]
        subject.update(samples, seed=step)
    assert probability() > 0.8


@pytest.mark.parametrize("settings", [{}, {"use_kl": True, "kl_coeff": 0.1}])
def test_resume_is_bit_for_bit(tmp_path, settings):
    one = learner(learning_rate=1e-3, warmup_steps=20, **settings)
    for step in range(3):
        one.update(draw(seed=step), seed=step)
    one.save(tmp_path / "checkpoint")
    other = learner(build(seed=99), learning_rate=1e-3, warmup_steps=20, **settings)
    other.load(tmp_path / "checkpoint")
    assert other.version == one.version == 6
    for step in range(3, 6):
        assert one.update(draw(seed=step), seed=step) == other.update(draw(seed=step), seed=step)
    assert all(torch.equal(a, other.weights()[n]) for n, a in one.weights().items())


def test_a_fresh_learner_saves_and_loads(tmp_path):
    learner().save(tmp_path)
    used = learner(build(seed=3))
    used.update(draw(), seed=0)
    used.load(tmp_path)
    assert used.version == 0
    assert used.update(draw(), seed=1) == learner().update(draw(), seed=1)


def test_what_is_saved_is_a_transformers_checkpoint(tmp_path):
    subject = learner()
    subject.update(draw(), seed=0)
    subject.save(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert all(torch.equal(p, subject.weights()[n]) for n, p in loaded.named_parameters())


def _cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "learner.json"])
@pytest.mark.parametrize("damage", [_cut, _flip, lambda path: path.unlink()])
def test_damage_is_refused_and_changes_nothing(tmp_path, file, damage):
    one = learner()
    one.update(draw(), seed=0)
    one.save(tmp_path)
    damage(tmp_path / file)
    other = learner(build(seed=4))
    before = {name: value.clone() for name, value in other.weights().items()}
    with pytest.raises(ValueError, match=str(tmp_path)):
        other.load(tmp_path)
    assert other.version == 0
    assert all(torch.equal(value, before[name]) for name, value in other.weights().items())


def test_another_models_checkpoint_is_refused(tmp_path):
    learner().save(tmp_path)
    with pytest.raises(ValueError, match="another model"):
        learner(build(hidden=64)).load(tmp_path)
    with pytest.raises(ValueError, match=r"without reference\.safetensors"):
        learner(use_kl=True).load(tmp_path)


@pytest.mark.parametrize("where", ["sampler", "advantage", "weights", "gradient"])
def test_non_finite_values_stop_and_save_the_batch(tmp_path, where, monkeypatch):
    samples = draw(8)
    subject = learner(on_failure=tmp_path / "failures")
    if where == "sampler":
        logprobs = (float("nan"), *samples[3].logprobs[1:])
        samples[3] = Sample(samples[3].prompt_ids, samples[3].token_ids, logprobs, 0.0, CELL)
    elif where == "advantage":
        samples[3] = Sample(
            samples[3].prompt_ids, samples[3].token_ids, samples[3].logprobs, float("inf"), CELL
        )
    elif where == "weights":
        with torch.no_grad():
            subject.weights()["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    else:
        subject.model.get_parameter("model.norm.weight").register_hook(lambda g: g * float("nan"))
    before = {name: value.clone() for name, value in subject.weights().items()}
    with pytest.raises(NonFinite, match="saved to") as caught:
        subject.update(samples, seed=0)
    assert isinstance(caught.value, UserError)
    [path] = (tmp_path / "failures").iterdir()
    assert str(path) in str(caught.value)
    saved = json.loads(path.read_text())
    assert len(saved["samples"]) == 8
    assert saved["samples"][5]["token_ids"] == list(samples[5].token_ids)
    assert subject.version == 0
    for name, value in subject.weights().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)
        assert subject.model.get_parameter(name).grad is None


def test_bad_samples_are_refused():
    subject = learner()
    with pytest.raises(ValueError, match="no samples"):
        subject.update([], seed=0)
    with pytest.raises(ValueError, match="sample 0 has 0 tokens"):
        subject.update([Sample((1,), (), (), 1.0, CELL)], seed=0)
    with pytest.raises(ValueError, match="2 tokens and 1 log-prob"):
        subject.update([Sample((1,), (2, 3), (-1.0,), 1.0, CELL)], seed=0)
    with pytest.raises(ValueError, match="no prompt tokens"):
        subject.update([Sample((), (2,), (-1.0,), 1.0, CELL)], seed=0)
