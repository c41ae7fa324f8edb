"""Log-probabilities and entropies straight from hidden states: logits exist for a few tokens at a time.

With a vocabulary of 150,000 the logits of a micro-batch of 16,000 tokens take 10 GB, and their gradient as
much again. Here a chunk of tokens is multiplied by the head, reduced to two numbers a token, and forgotten;
the backward pass multiplies again, writes the gradient of the logits in closed form, and forgets it too:

    d log p(t) / dz = onehot(t) - p,      d H / dz = -p (log p + H).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def chunked_scores(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    tokens: int,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `targets` int64 [N] and entropies (nats), float32 [N] each, under the logits
    (`hidden` [N, H] @ `weight` [V, H] + `bias` [V]) / `temperature`; at most `tokens` x V logits at once, forwards
    and backwards. Gradients reach hidden, weight and bias, through both results."""
    return _Chunked.apply(hidden, weight, bias, targets, tokens, temperature)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        tokens: int,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        found = [
            _reduced(_logits(part, weight, bias, temperature), wanted)
            for part, wanted in zip(hidden.split(tokens), targets.split(tokens), strict=True)
        ]
        chosen, entropy, norm = (torch.cat(values) for values in zip(*found, strict=True))
        ctx.save_for_backward(hidden, weight, bias, targets, entropy, norm)
        ctx.tokens, ctx.temperature = tokens, temperature
        return chosen, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, entropy, norm = ctx.saved_tensors
        to_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        to_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        to_bias = torch.zeros_like(bias, dtype=torch.float32) if ctx.needs_input_grad[2] else None
        for start in range(0, len(hidden), ctx.tokens):
            part = slice(start, start + ctx.tokens)
            of_chosen, of_entropy = (gradient[part, None] for gradient in gradients)
            log_p = _logits(hidden[part], weight, bias, ctx.temperature) - norm[part, None]
            # -p (of_chosen + of_entropy (log p + H)), and of_chosen at the target
            slope = log_p.exp().mul_(log_p.add_(entropy[part, None]).mul_(of_entropy).add_(of_chosen).neg_())
            slope.scatter_add_(1, targets[part, None], of_chosen.to(slope.dtype)).div_(ctx.temperature)
            if to_bias is not None:
                to_bias += slope.sum(0)
            slope = slope.to(weight.dtype)
            if to_hidden is not None:
                to_hidden[part] = slope @ weight
            if to_weight is not None:
                to_weight += slope.T @ hidden[part]
        kept = None if to_weight is None else to_weight.to(weight.dtype)
        return to_hidden, kept, None if to_bias is None else to_bias.to(bias.dtype), None, None, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    return F.linear(hidden, weight, bias).float() / temperature


def _reduced(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per token: log-probability of the target, entropy, and the logarithm of the normaliser."""
    norm = logits.logsumexp(-1)
    chosen = logits.gather(1, targets[:, None])[:, 0] - norm
    log_p = logits.sub_(norm[:, None])
    entropy = -torch.einsum("nv,nv->n", log_p.exp(), log_p)
    return chosen, entropy, norm
