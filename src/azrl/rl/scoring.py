"""Log-probabilities of completion tokens under a model, and nothing else: logits exist only where a
completion token is predicted, [N, V] instead of [B, T, V], and with `head_tokens` only for so many at once."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from azrl.models.forward import head_input, head_weight, hidden_states, last_hidden_state, logits
from azrl.rl.batching import MicroBatch
from azrl.rl.head import chunked_scores

Entropy = Literal["none", "value", "gradient"]


class TokenScorer(nn.Module):
    """`model` from tokens to log-probabilities: one module, so that all of its weights are gathered, used and let
    go of together when they are sharded. Matrices multiply in `dtype`; `recompute` trades time for activations."""

    def __init__(
        self, model: PreTrainedModel, dtype: torch.dtype, head_tokens: int | None, recompute: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        self.head_tokens = head_tokens
        self.recompute = recompute

    def forward(
        self, batch: MicroBatch, entropy: Entropy = "none", temperature: float = 1.0
    ) -> tuple[Tensor, Tensor | None]:
        """Natural-log probability of each of `batch`'s N completion tokens under the softmax of logits /
        `temperature`, and the entropy (nats) of that distribution, as a bare value or with its gradient; float32
        [N] both."""
        hidden = self._hidden(batch)
        if self.head_tokens is not None:
            given = head_input(self.model, hidden, self.dtype)
            weight, bias = head_weight(self.model, self.dtype)
            found, spread = chunked_scores(given, weight, bias, batch.targets, self.head_tokens, temperature)
            if entropy == "none":
                return found, None
            return found, spread if entropy == "gradient" else spread.detach()
        scores = logits(self.model, hidden, self.dtype)
        distribution = (scores if temperature == 1.0 else scores / temperature).log_softmax(-1)
        chosen = distribution.gather(1, batch.targets[:, None])[:, 0]
        if entropy == "none":
            return chosen, None
        with torch.set_grad_enabled(entropy == "gradient" and torch.is_grad_enabled()):
            return chosen, -(distribution.exp() * distribution).sum(-1)

    def features(self, batch: MicroBatch) -> Tensor:
        """The last hidden states, float32 [N, H], from which the head predicts the completion tokens: the same
        whatever forward pass the model takes."""
        return last_hidden_state(self.model, self._hidden(batch))

    def _hidden(self, batch: MicroBatch) -> Tensor:
        return hidden_states(
            self.model,
            batch.ids,
            batch.positions,
            batch.allowed,
            self.dtype,
            batch.source,
            packing=batch.packing,
            recompute=self.recompute,
        )
