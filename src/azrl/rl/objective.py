"""From one micro-batch to a scalar that can be differentiated: forward pass, old policy, importance, loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from azrl.config.schema import Training
from azrl.rl.batching import MicroBatch
from azrl.rl.correction import importance_weights
from azrl.rl.losses import k3, policy_loss
from azrl.rl.scoring import TokenScorer
from azrl.rl.types import Sample


def micro_batch_loss(
    scorer: TokenScorer,
    reference: Callable[[MicroBatch], Tensor] | None,
    batch: MicroBatch,
    samples: Sequence[Sample],
    token_weight: Mapping[int, float],
    old: dict[int, Tensor],
    config: Training,
    temperature: float = 1.0,
) -> tuple[Tensor, dict[str, float]]:
    """This micro-batch's part of the minibatch loss, and means over its completion tokens.

    `reference` gives log-probabilities under the starting model, without gradient. `batch.members` index
    `samples`; `token_weight` holds the loss weight of each of a member's tokens; `old` the members'
    log-probabilities under the old policy. Members that `old` lacks are put there: their old policy is the model
    as it is now. All probabilities are of the softmax of logits / `temperature`."""
    device = batch.ids.device
    lengths = torch.tensor(batch.lengths, device=device)
    of_each = np.array([token_weight[i] for i in batch.members], dtype=np.float32)
    weights = torch.from_numpy(of_each).to(device).repeat_interleave(lengths)
    worth = [
        samples[i].token_advantages or (samples[i].advantage,) * n
        for i, n in zip(batch.members, batch.lengths, strict=True)
    ]
    advantages = torch.from_numpy(np.concatenate(worth).astype(np.float32)).to(device)
    sampled = np.concatenate([samples[i].logprobs for i in batch.members]).astype(np.float32)
    sampler = torch.from_numpy(sampled).to(device)
    logprobs, spread = scorer(batch, "gradient" if config.entropy_coeff > 0 else "value", temperature)
    for member, now in zip(batch.members, logprobs.detach().split(batch.lengths), strict=True):
        old.setdefault(member, now)
    old_logprobs = torch.cat([old[member] for member in batch.members])
    importance, beyond = None, None
    if config.importance_cap is not None:
        importance, beyond = importance_weights(
            old_logprobs,
            sampler,
            batch.lengths,
            mode=config.importance_mode,
            cap=config.importance_cap,
            floor=config.importance_floor,
        )
    reference_logprobs = None if reference is None else reference(batch)
    loss, metrics = policy_loss(
        logprobs,
        old_logprobs,
        advantages,
        weights,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        importance=importance,
        reference_logprobs=reference_logprobs,
        kl_coeff=config.kl_coeff,
        entropy=spread,
        entropy_coeff=config.entropy_coeff,
    )
    metrics["entropy_exact"] = spread.mean().item()
    trainer = logprobs.detach() if importance is None else old_logprobs
    metrics["mismatch_kl"] = k3(trainer - sampler).mean().item()
    if importance is not None and beyond is not None:
        metrics["importance_mean"] = importance.mean().item()
        metrics["importance_beyond"] = beyond.float().mean().item()
    return loss, metrics
