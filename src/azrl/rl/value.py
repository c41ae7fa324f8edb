"""The value head of PPO: what a completion will earn, told before each of its tokens.

It reads the policy's own last hidden states and sends no gradient back into them. A trunk of its own would double
weights and optimizer, and a shared trunk with gradient makes the policy pay for the values' mistakes by a
coefficient that has to be found again for every model. Stopped at the trunk, the policy's update is the policy
gradient alone, the head may learn at its own rate, and an update needs each hidden state only once: fitting the
values is a small regression. The price: the head cannot ask the trunk for features that it lacks.

The output layer starts at zero: before anything was learned V = 0, and PPO is REINFORCE with whitened rewards.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ValueHead(nn.Module):
    """Root-mean-square norm, one hidden layer as wide as the model, SiLU, one number: float32.

    The same `seed` gives the same weights; no other generator is touched."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        self.inner: nn.Linear = nn.utils.skip_init(nn.Linear, width, width)
        self.outer: nn.Linear = nn.utils.skip_init(nn.Linear, width, 1)
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.inner.weight, std=width**-0.5, generator=generator)
        for zero in (self.inner.bias, self.outer.weight, self.outer.bias):
            nn.init.zeros_(zero)

    def forward(self, features: Tensor) -> Tensor:
        """Values [N] of hidden states [N, H] of any float type."""
        x = F.rms_norm(features.float(), (features.shape[-1],))
        return self.outer(F.silu(self.inner(x)))[:, 0]


def value_loss(
    predicted: Tensor, returns: Tensor, before: Tensor, clip: float | None
) -> tuple[Tensor, Tensor]:
    """(scalar loss, bool [N] where the clip decided): with V_clip = clamp(V, before - clip, before + clip),

        1/2 mean max((V - R)^2, (V_clip - R)^2)

    as in OpenAI's PPO (Huang et al. 2022, detail 9): one update moves no value further than `clip` from where it
    was `before`. All [N]; `clip` None: the plain squared error."""
    plain = (predicted - returns).square()
    if clip is None:
        return 0.5 * plain.mean(), torch.zeros_like(plain, dtype=torch.bool)
    near = predicted.clamp(before - clip, before + clip)
    clipped = (near - returns).square()
    return 0.5 * torch.maximum(plain, clipped).mean(), clipped > plain
