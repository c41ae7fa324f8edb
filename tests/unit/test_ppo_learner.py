"""PPO: each update against the equations written out, resumable to the bit, and it learns."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from azrl.config.schema import Training
from azrl.rl.learner import TorchLearner
from azrl.rl.ppo import PPOLearner
from azrl.rl.types import NonFinite, Sample

CELL = ("deduction", "solver")


def build(seed=0, hidden=32):
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=48, hidden_size=hidden, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, max_position_embeddings=64, attn_implementation="sdpa",
    )  # fmt: skip
    return Qwen2ForCausalLM(config).eval()


def learner(model=None, *, on_failure=None, **settings):
    return PPOLearner(
        model or build(), Training(rl_algorithm="PPO", **settings), pad_id=0, on_failure=on_failure
    )


def draw(count=16, seed=0):
    rng = np.random.default_rng(seed)
    shared = [tuple(rng.integers(1, 48, rng.integers(3, 9)).tolist()) for _ in range(4)]
    samples = []
    for i in range(count):
        tokens = tuple(rng.integers(1, 48, rng.integers(1, 9)).tolist())
        logprobs = tuple((-math.log(48) + 0.1 * rng.normal(size=len(tokens))).tolist())
        samples.append(Sample(shared[i % 4], tokens, logprobs, float(rng.choice([1.0, -0.5, -1.0])), CELL))
    return samples


def plain_values(subject, samples):
    """The head on transformers' own last hidden states before each token, a sample at a time."""
    states, found = [], []
    norm = subject.policy.model.model.norm
    hook = norm.register_forward_hook(lambda module, inputs, output: states.append(output))
    with torch.no_grad():
        for sample in samples:
            subject.policy.model(torch.tensor([[*sample.prompt_ids, *sample.token_ids]]))
            before = states.pop()[0, len(sample.prompt_ids) - 1 : -1]
            found.append(subject.critic.head(before).double().numpy())
    hook.remove()
    return found


def plain_advantages(rewards, values, gamma, lam):
    """Whitened sums of discounted errors: Eq. 16 of arXiv 1506.02438, then all tokens as one sample."""
    found = []
    for r, v in zip(rewards, values, strict=True):
        delta = r + gamma * np.append(v[1:], 0.0) - v
        n = len(r)
        found.append(
            np.array([sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, n)) for t in range(n)])
        )
    flat = np.concatenate(found)
    return [(a - flat.mean()) / math.sqrt(flat.var(ddof=1) + 1e-8) for a in found], found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gamma": 0.9, "gae_lambda": 0.5, "minibatches": 1},
        {"batching": "packed", "head_tokens": 7, "micro_batch_tokens": 60},
    ],
)
def test_an_update_is_the_equations_written_out(settings):
    """Two updates; the second with values that are no longer 0. The policy must end where a learner ends that is
    given the advantages, and the head must have been given the returns."""
    subject = learner(learning_rate=1e-3, **settings)
    other = TorchLearner(build(), Training(learning_rate=1e-3, **settings), pad_id=0)
    gamma, lam = settings.get("gamma", 1.0), settings.get("gae_lambda", 1.0)
    fitted = []
    fit = subject.critic.fit
    subject.critic.fit = lambda *given: (fitted.append(given), fit(*given))[1]
    for step in range(2):
        samples = draw(seed=step)
        values = plain_values(subject, samples)
        assert (np.abs(np.concatenate(values)).max() > 1e-3) == (step > 0)
        rewards = [np.append(np.zeros(len(s.token_ids) - 1), s.advantage) for s in samples]
        advantages, raw = plain_advantages(rewards, values, gamma, lam)
        metrics = subject.update(samples, seed=step)
        expected = other.update(
            [replace(s, token_advantages=tuple(a)) for s, a in zip(samples, advantages, strict=True)],
            seed=step,
        )
        for name in expected:
            assert metrics[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name
        for name, value in subject.weights().items():
            torch.testing.assert_close(value, other.weights()[name], rtol=0, atol=2e-5)
        states, returns, before, _ = fitted[step]
        np.testing.assert_allclose(before, np.concatenate(values), rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            returns, np.concatenate([a + v for a, v in zip(raw, values, strict=True)]), rtol=0, atol=1e-5
        )
        assert states.shape == (len(returns), 32)
        assert metrics["value_mean"] == pytest.approx(np.concatenate(values).mean(), abs=1e-5)
    assert metrics["value_loss"] > 0


def test_the_kl_may_be_paid_out_of_the_reward():
    """V = 0 and no discount: a token's return is the reward less what all tokens from it on cost."""
    settings = {"use_kl": True, "kl_in_reward": True, "kl_coeff": 0.1}
    subject, samples = learner(**settings), draw()
    reference = subject.score([(s.prompt_ids, s.token_ids) for s in samples])  # it is the model at the start
    cost = [0.1 * (np.array(s.logprobs) - np.array(r)) for s, r in zip(samples, reference, strict=True)]
    fitted = []
    subject.critic.fit = lambda *given: (fitted.append(given), {})[1]
    metrics = subject.update(samples, seed=0)
    expected = [s.advantage - np.cumsum(c[::-1])[::-1] for s, c in zip(samples, cost, strict=True)]
    np.testing.assert_allclose(fitted[0][1], np.concatenate(expected), rtol=0, atol=1e-5)
    assert metrics["kl_reward"] == pytest.approx(np.concatenate(cost).mean() / 0.1, abs=1e-5)
    assert metrics["kl_reference"] == pytest.approx(0.0, abs=1e-6)
    plain = learner().update(samples, seed=0)
    assert plain["loss"] != metrics["loss"]


def test_the_value_head_sends_nothing_into_the_policy():
    """Whatever the head learns, the policy's gradient is that of its own loss."""
    samples = draw()
    weights = [learner(value_learning_rate=rate, value_epochs=n) for rate, n in ((1e-6, 1), (1e-1, 8))]
    for subject in weights:
        subject.update(samples, seed=0)
    for name, value in weights[0].weights().items():
        assert torch.equal(value, weights[1].weights()[name])


def test_resume_is_bit_for_bit(tmp_path):
    one = learner(learning_rate=1e-3)
    for step in range(2):
        one.update(draw(seed=step), seed=step)
    one.save(tmp_path / "checkpoint")
    other = learner(build(seed=9), learning_rate=1e-3)
    other.load(tmp_path / "checkpoint")
    assert other.version == one.version == 4
    for step in range(2, 4):
        assert one.update(draw(seed=step), seed=step) == other.update(draw(seed=step), seed=step)
    for name, value in one.critic.tensors().items():
        assert torch.equal(value, other.critic.tensors()[name]), name


def test_a_fresh_learner_saves_and_loads(tmp_path):
    learner().save(tmp_path)
    used = learner(build(seed=3))
    used.update(draw(), seed=0)
    used.load(tmp_path)
    assert used.update(draw(), seed=1) == learner().update(draw(), seed=1)


@pytest.mark.parametrize("what", ["cut", "gone", "none", "another", "policy"])
def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path, what):
    source = TorchLearner(build(), Training(), pad_id=0) if what == "none" else learner()
    if what == "another":
        source = learner(build(hidden=64))
    source.update(draw(), seed=0)
    source.save(tmp_path)
    file = tmp_path / "value" / "value.safetensors"
    if what == "cut":
        file.write_bytes(file.read_bytes()[:-5])
    elif what == "gone":
        file.unlink()
    elif what == "policy":
        (tmp_path / "model.safetensors").unlink()
    subject = learner(build(seed=4))
    before = {n: v.clone() for n, v in (*subject.weights().items(), *subject.critic.tensors().items())}
    message = {"none": "has no value head", "another": "another model"}.get(what, str(tmp_path))
    with pytest.raises(ValueError, match=message):
        subject.load(tmp_path)
    assert subject.version == 0
    for name, value in (*subject.weights().items(), *subject.critic.tensors().items()):
        assert torch.equal(value, before[name])


def test_another_learner_takes_the_policy_alone(tmp_path):
    subject = learner()
    subject.update(draw(), seed=0)
    subject.save(tmp_path)
    other = TorchLearner(build(seed=2), Training(), pad_id=0)
    other.load(tmp_path)
    assert all(torch.equal(v, other.weights()[n]) for n, v in subject.weights().items())


def test_damaged_weights_stop_and_save_the_batch(tmp_path):
    subject = learner(on_failure=tmp_path)
    with torch.no_grad():
        subject.weights()["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    head = {name: value.clone() for name, value in subject.critic.tensors().items()}
    with pytest.raises(NonFinite, match="saved to"):
        subject.update(draw(4), seed=0)
    [path] = tmp_path.iterdir()
    assert len(json.loads(path.read_text())["samples"]) == 4
    assert all(torch.equal(value, head[name]) for name, value in subject.critic.tensors().items())


def test_bad_samples_are_refused():
    with pytest.raises(ValueError, match="no samples"):
        learner().update([], seed=0)
    with pytest.raises(ValueError, match="2 tokens and 1 log-prob"):
        learner().update([Sample((1,), (2, 3), (-1.0,), 1.0, CELL)], seed=0)


def test_it_learns_which_token_matters():
    """Two tokens; the reward is 1 where the first is 11, whatever the second is. The first must be learned, and
    the values must come to tell the two prefixes apart."""
    subject = learner(learning_rate=3e-3, minibatches=1, value_learning_rate=1e-2)
    generator = torch.Generator().manual_seed(0)
    prompt, good = (5, 6, 7), 11

    def probability():
        return math.exp(subject.score([(prompt, (good,))])[0][0])

    assert probability() < 0.05
    for step in range(40):
        first = np.array(subject.score([(prompt, (token,)) for token in range(48)]))[:, 0]
        tokens = torch.multinomial(
            torch.tensor(first).exp(), 64, replacement=True, generator=generator
        ).tolist()
        second = torch.randint(0, 48, (64,), generator=generator).tolist()
        logprobs = subject.score([(prompt, pair) for pair in zip(tokens, second, strict=True)])
        samples = [
            Sample(prompt, pair, tuple(p), float(pair[0] == good), CELL)
            for pair, p in zip(zip(tokens, second, strict=True), logprobs, strict=True)
        ]
        subject.update(samples, seed=step)
    assert probability() > 0.8
    right, wrong = plain_values(
        subject, [Sample(prompt, (token, 3), (0.0, 0.0), 0.0, CELL) for token in (good, 12)]
    )
    assert right[1] - wrong[1] > 0.3
