"""Importance weights between sampler and trainer.

Engine and trainer compute the same policy with different rounding, and an engine may lag an update behind:
unweighted, the gradient is that of neither policy. With rho = p_trainer / p_sampler, of a token or multiplied up
over a sequence's tokens (then all of them carry the product), the weight of a token's policy loss is

    *_truncate:  min(rho, cap)                            TIS
    *_mask:      rho where floor <= rho <= cap, else 0    MIS

Sources: token_truncate Yao et al. 2025 (fengyao.notion.site/off-policy-rl), after IMPALA (arXiv 1802.01561);
sequence_* Liu et al. 2025 (richardli.xyz/rl-collapse); both bounds are IcePop's (arXiv 2510.18855). Truncation
keeps every token and is biased where it cuts; a mask drops what the sampler should hardly have written. The
product over a sequence is unbiased, and its variance grows with the length: with long answers prefer tokens.

Degenerate: equal log-probabilities give weight 1 exactly. What is masked still counts in the loss's denominators,
and keeps its entropy and KL terms; a batch that is masked entirely has no policy gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# exp() of more than this is no ratio but an accident.
_MAX_LOG_RATIO = 20.0


def importance_weights(
    trainer: Tensor, sampler: Tensor, lengths: Sequence[int], *, mode: str, cap: float, floor: float = 0.0
) -> tuple[Tensor, Tensor]:
    """(weights, beyond), both [N]; `beyond` is True where rho is above `cap` or, masking, below `floor`.

    `trainer` and `sampler` are log-probabilities (nats) [N] of sequences of `lengths` tokens, one after another;
    `mode` is `<token|sequence>_<truncate|mask>`. ValueError on another mode, and on non-finite log-probabilities
    of the sampler: its samples cannot be believed."""
    level, _, what = mode.partition("_")
    if level not in ("token", "sequence") or what not in ("truncate", "mask"):
        raise ValueError(f"unknown importance mode {mode!r}; want <token|sequence>_<truncate|mask>")
    if not torch.isfinite(sampler).all():
        raise ValueError("the sampler gave non-finite log-probabilities")
    log_ratio = trainer - sampler
    if level == "sequence":
        counts = torch.tensor(lengths, device=log_ratio.device)
        log_ratio = torch.stack([part.sum() for part in log_ratio.split(list(lengths))])
        log_ratio = log_ratio.repeat_interleave(counts)
    ratio = log_ratio.clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp()
    if what == "truncate":
        return ratio.clamp(max=cap), ratio > cap
    beyond = (ratio > cap) | (ratio < floor)
    return ratio.masked_fill(beyond, 0.0), beyond
