"""The learner's arithmetic written out plainly, to be compared with: padded rows, the model's own forward pass,
all logits at once, no shared prompts, one process, autograd. Nothing here comes from azrl."""

from __future__ import annotations

import numpy as np
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 48
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "attn_implementation": "sdpa",
}
KINDS = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"tie_word_embeddings": True, "head_dim": 16}),
    "llama": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": False}),
}


def build(kind="qwen2", seed=0):
    """A random model with biases and norm weights that matter."""
    config, model, own = KINDS[kind]
    torch.manual_seed(seed)
    built = model(config(**SHAPE, **own))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return built.eval()


def draw(count=12, seed=0, size=4):
    """(prompt, completion, sampler log-probabilities, reward, cell, group), `size` of each prompt."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        if i % size == 0:
            prompt = tuple(rng.integers(1, VOCABULARY, rng.integers(3, 9)).tolist())
            cell = (("deduction", "solver"), ("abduction", "proposer"))[(i // size) % 2]
        tokens = tuple(rng.integers(1, VOCABULARY, rng.integers(1, 12)).tolist())
        logprobs = tuple((-np.log(VOCABULARY) + 0.3 * rng.normal(size=len(tokens))).tolist())
        found.append((prompt, tokens, logprobs, float(rng.choice([-1.0, -0.5, 0.0, 1.0])), cell, i // size))
    return found


def advantages(name, drawn):
    """Each estimator from its paper, in two lines."""
    rewards = np.array([row[3] for row in drawn])
    lengths = np.array([len(row[1]) for row in drawn])
    out = np.zeros(len(drawn))
    column = {"trr++": 4, "trr++_token": 4, "grpo": 5, "rloo": 5, "dr_grpo": 5}.get(name)
    labels = [row[column] if column else "all" for row in drawn]
    for label in set(labels):
        at = np.array([i for i, found in enumerate(labels) if found == label])
        r = rewards[at]
        if np.ptp(r) == 0:
            continue
        if name in ("trr++", "reinforce++"):
            out[at] = (r - r.mean()) / (r.std() + 1e-8)
        elif name == "trr++_token":
            every = np.repeat(r, lengths[at])
            out[at] = (r - every.mean()) / np.sqrt(every.var(ddof=1) + 1e-8)
        elif name == "grpo":
            out[at] = (r - r.mean()) / (r.std(ddof=1) + 1e-4)
        elif name == "rloo":
            out[at] = [x - (r.sum() - x) / (len(r) - 1) for x in r]
        elif name == "dr_grpo":
            out[at] = r - r.mean()
    return out


def distributions(call, drawn):
    """Log-probabilities [B, T, V] of right-padded rows, what stands there [B, T], and the mask of completions."""
    rows = [(*row[0], *row[1]) for row in drawn]
    width = max(map(len, rows))
    ids, attention, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(3))
    for i, (row, (prompt, *_)) in enumerate(zip(rows, drawn, strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        attention[i, : len(row)] = 1
        mask[i, len(prompt) : len(row)] = 1
    return call(ids, attention)[:, :-1].log_softmax(-1), ids[:, 1:], mask[:, 1:].bool()


def loss_of(call, drawn, worth, *, loss, low=0.2, high=0.28, cap=None, kl=0.0, entropy_bonus=0.0, start=None):
    """The loss of one minibatch, all of `drawn`. `call(ids, attention)` gives logits; `start` those of the starting
    model. With a `cap` the old policy is the model itself, else the sampler."""
    table, wanted, mask = distributions(call, drawn)
    new = table.gather(2, wanted[..., None])[..., 0]
    sampled = torch.zeros_like(new)
    for i, row in enumerate(drawn):
        sampled[i, mask[i]] = torch.tensor(row[2])
    old = sampled if cap is None else new.detach()
    ratio = torch.where(mask, new - old, 0.0).exp()
    a = torch.tensor(worth, dtype=torch.float32)[:, None]
    value = -torch.minimum(ratio * a, ratio.clamp(1 - low, 1 + high) * a)
    if cap is not None:
        value = value * torch.where(mask, new.detach() - sampled, 0.0).exp().clamp(max=cap)
    if start is not None:
        with torch.no_grad():
            began = distributions(start, drawn)[0].gather(2, wanted[..., None])[..., 0]
        gap = torch.where(mask, began - new, 0.0)
        value = value + kl * (gap.exp() - 1 - gap)
    value = value - entropy_bonus * -(table.exp() * table).sum(-1)
    value = torch.where(mask, value, 0.0)
    if loss == "token_mean":
        return value.sum() / mask.sum()
    return (value.sum(1) / mask.sum(1)).mean()


def plain_call(model):
    """Logits of the model itself."""
    return lambda ids, attention: model(input_ids=ids, attention_mask=attention).logits


def adapted_call(model, pairs, scale):
    """Logits of the model with W + scale * B A in place of each W named in `pairs` (name -> (A, B))."""

    def call(ids, attention):
        weights = {
            name: model.get_parameter(name).detach() + scale * (up @ down)
            for name, (down, up) in pairs.items()
        }
        given = {"input_ids": ids, "attention_mask": attention}
        return torch.func.functional_call(model, weights, (), given).logits

    return call
