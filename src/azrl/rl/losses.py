"""The policy-gradient loss, token by token. Shape-free: every tensor argument has the same shape [...].

Normalisation lives in `weights`, made once for a whole minibatch by `token_weights`: the loss of a minibatch
is the plain sum of the losses of its micro-batches, however it was cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# exp() of more than this is no ratio but an accident; the clamp keeps inf * 0 out of the gradient.
_MAX_LOG_RATIO = 20.0


def token_weights(lengths: Sequence[int], loss: str) -> list[float]:
    """The weight of each token of sequence i in the minibatch loss, one number a sequence.

    `token_mean` (DAPO, arXiv 2503.14476): every token alike, 1 / sum(lengths). `sequence_mean` (GRPO): every
    sequence alike, 1 / (sequences x length). ValueError on another name."""
    if loss == "token_mean":
        return [1.0 / sum(lengths)] * len(lengths)
    if loss == "sequence_mean":
        return [1.0 / (len(lengths) * length) for length in lengths]
    raise ValueError(f"unknown loss {loss!r}; known: token_mean, sequence_mean")


def k3(log_ratio: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(p || q) from samples of p, per token: r - 1 - log r with
    log r = log q - log p = `log_ratio`. Unbiased, never negative."""
    log_ratio = log_ratio.clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)
    return log_ratio.exp() - 1 - log_ratio


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    importance: Tensor | None = None,
    reference_logprobs: Tensor | None = None,
    kl_coeff: float = 0.0,
    entropy: Tensor | None = None,
    entropy_coeff: float = 0.0,
) -> tuple[Tensor, dict[str, float]]:
    """(scalar loss, metrics of the tokens with weight > 0).

    PPO-clip (arXiv 1707.06347) with the asymmetric range of DAPO: with ratio = exp(logprobs - old_logprobs),
        - sum(weights * importance * min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A))
        + kl_coeff * sum(weights * k3 to the reference) - entropy_coeff * sum(weights * entropy)
    Natural logs. `importance` (no gradient) from `correction.importance_weights`. Metrics: `ratio_mean`, `ratio_max`,
    `clip_fraction` (tokens whose gradient the clip removed), `kl` (k3 of old against new) and, with a
    reference, `kl_reference`. Without any weighted token: zero, no metrics."""
    log_ratio = (logprobs - old_logprobs).clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)
    ratio = log_ratio.exp()
    plain, clipped = ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    per_token = -torch.minimum(plain, clipped)
    if importance is not None:
        per_token = per_token * importance
    metrics = {"clip_fraction": clipped < plain, "ratio_mean": ratio, "kl": k3(log_ratio.detach())}
    if reference_logprobs is not None:
        penalty = k3(reference_logprobs - logprobs)
        per_token = per_token + kl_coeff * penalty
        metrics["kl_reference"] = penalty
    if entropy is not None and entropy_coeff:
        per_token = per_token - entropy_coeff * entropy
    counted = weights > 0
    loss = (per_token * weights).sum()
    if not counted.any():
        return loss, {}
    means = {name: value.detach()[counted].double().mean().item() for name, value in metrics.items()}
    return loss, {**means, "ratio_max": ratio.detach()[counted].max().item()}
