"""Log-probabilities of completion tokens under a model, and nothing else: logits exist only where a
completion token is predicted, [N, V] instead of [B, T, V]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from azrl.models.forward import hidden_states, logits
from azrl.rl.batching import MicroBatch, Pair, Row, assemble, microbatches_of


def log_distribution(model: PreTrainedModel, batch: MicroBatch, dtype: torch.dtype) -> Tensor:
    """Natural-log probabilities, float32 [N, V], of what may stand at each completion token of `batch`."""
    hidden = hidden_states(model, batch.ids, batch.positions, batch.allowed, dtype, batch.source)
    return logits(model, hidden, dtype).log_softmax(-1)


def chosen(log_probabilities: Tensor, batch: MicroBatch) -> Tensor:
    """Those of the tokens that were written, [N]."""
    return log_probabilities.gather(1, batch.targets[:, None])[:, 0]


def entropy(log_probabilities: Tensor) -> Tensor:
    """Entropy of each distribution in nats, [N]."""
    return -(log_probabilities.exp() * log_probabilities).sum(-1)


@torch.no_grad()
def score_rows(
    model: PreTrainedModel,
    rows: Sequence[Row],
    pairs: Sequence[Pair],
    *,
    tokens: int,
    pad_id: int,
    dtype: torch.dtype,
) -> dict[int, Tensor]:
    """Index of each pair in `rows` to the log-probabilities of its completion tokens, without gradient; at
    most `tokens` padded tokens a pass."""
    scores: dict[int, Tensor] = {}
    for part in microbatches_of(rows, tokens):
        batch = assemble(part, pairs, pad_id, model.device)
        found = chosen(log_distribution(model, batch, dtype), batch)
        scores.update(zip(batch.members, found.split(batch.lengths), strict=True))
    return scores
