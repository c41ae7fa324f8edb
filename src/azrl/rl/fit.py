"""Does a model compute under the learner what it computes by itself? Asked once, before anything is trained.

Packed and shared rows rely on positions that restart and on masks of ours. A model that attends through a
sliding window, carries a state along the row, or scales its logits behind the head would train on another
policy than the one that samples, and no loss would show it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from azrl.errors import UserError
from azrl.models.attention import take_packed
from azrl.models.forward import is_lean
from azrl.rl.batching import Pair, assemble, rows_of
from azrl.rl.scoring import TokenScorer

_WORST = {torch.float32: 1e-3, torch.bfloat16: 0.5}  # nats, for the worst of the probe's tokens
_ELSE = "set training.batching=padded"


def prepare(scorer: TokenScorer, batching: str, *, shared: bool, lean: bool) -> None:
    """Make `scorer`'s model ready for `batching` and show that it gives each of a few tokens the log-probability
    that the model itself gives them. `lean`: it may go on by the lean forward pass, if it is one that can.
    UserError names what does not fit and what to set."""
    model, name = scorer.model, type(scorer.model).__name__
    lean = lean and is_lean(model)
    if batching != "padded":
        kinds = set(getattr(model.config, "layer_types", None) or _kind(model.config))
        if kinds != {"full_attention"}:
            raise UserError(
                f"{name} has layers of {', '.join(sorted(kinds))}, which know no shared rows: {_ELSE}"
            )
        if not lean and "position_ids" not in inspect.signature(model.base_model.forward).parameters:
            raise UserError(f"{name} takes no positions, so its rows cannot be shared or packed: {_ELSE}")
    pairs = _probe(model.config.vocab_size)
    alone = _alone(model, pairs, scorer.dtype)
    packed = batching == "packed"
    try:
        if packed and not lean:
            take_packed(model)
        rows = rows_of(pairs, 10**6, shared=shared)
        batch = assemble(rows, pairs, 0, model.device, packed=packed, positions=batching != "padded")
        found = scorer(batch)[0].detach()
    except ValueError as error:
        raise UserError(f"training.batching={batching}: {error}; {_ELSE}") from error
    by_member = dict(zip(batch.members, found.split(batch.lengths), strict=True))
    worst = max((by_member[i] - alone[i]).abs().max().item() for i in range(len(pairs)))
    if not worst <= _WORST[scorer.dtype]:
        raise UserError(
            f"{name} gives other log-probabilities when trained (batching {batching}) than by itself, by up to "
            f"{worst:.3g} nats: its attention or its head does something that this learner does not know"
            + ("" if batching == "padded" else f"; {_ELSE}")
        )


def _kind(config: Any) -> list[str]:
    """What all layers of a model are that lists no kinds."""
    return ["full_attention" if getattr(config, "sliding_window", None) is None else "sliding_attention"]


def _probe(vocabulary: int) -> list[Pair]:
    """Two completions of one prompt and one of another, of tokens spread over the vocabulary."""
    tokens = [(7 + 31 * k) % vocabulary for k in range(24)]
    return [(tokens[:5], tokens[5:9]), (tokens[:5], tokens[9:15]), (tokens[15:18], tokens[18:])]


@torch.no_grad()
def _alone(model: PreTrainedModel, pairs: Sequence[Pair], dtype: torch.dtype) -> list[Tensor]:
    """Log-probabilities of the completions, each sequence by itself through the model's own forward."""
    found = []
    for prompt, completion in pairs:
        ids = torch.tensor([[*prompt, *completion]], device=model.device)
        call: Any = model
        with torch.autocast(ids.device.type, dtype, enabled=dtype != torch.float32):
            logits = call(input_ids=ids, use_cache=False).logits[0].float()
        before = slice(len(prompt) - 1, -1)
        found.append(logits[before].log_softmax(-1).gather(1, ids[0, len(prompt) :, None])[:, 0])
    return found
