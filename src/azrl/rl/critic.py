"""Fits the value head to returns: AdamW on hidden states that were computed once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from azrl.config.schema import Training
from azrl.errors import UserError
from azrl.rl.storage import Tensors
from azrl.rl.value import ValueHead, value_loss

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Critic:
    """A `ValueHead` for hidden states of `width`, and its optimizer: `training.value_*`, betas as the policy's."""

    def __init__(self, width: int, config: Training, device: torch.device, seed: int = 0) -> None:
        self.config = config
        self.head = ValueHead(width, seed).to(device)
        self.optimizer = torch.optim.AdamW(
            self.head.parameters(),
            lr=config.value_learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
        )

    @torch.no_grad()
    def values(self, features: Tensor) -> Tensor:
        """Values float32 [N] of hidden states [N, H]."""
        return self.head(features)

    def fit(self, features: Tensor, returns: Tensor, before: Tensor, seed: int) -> dict[str, float]:
        """`value_epochs` x `minibatches` optimizer steps towards `returns` [N] from `before`, the values [N] that
        the head gave at first. Which tokens go together is a function of `seed` alone.

        Metrics: `value_loss` and `value_clip_fraction`, means over the steps, and `explained_variance`,
        1 - var(returns - before) / var(returns), left out where all returns are equal. UserError when the loss is
        not finite."""
        config, rng = self.config, np.random.default_rng([seed, 1])
        losses: list[float] = []
        clipped: list[float] = []
        for _ in range(config.value_epochs):
            order = torch.from_numpy(rng.permutation(len(returns))).to(returns.device)
            for part in order.chunk(config.minibatches):
                loss, outside = value_loss(
                    self.head(features[part]), returns[part], before[part], config.value_clip
                )
                losses.append(loss.item())
                if not np.isfinite(losses[-1]):
                    raise UserError(
                        f"the value head's loss is {losses[-1]}: lower training.value_learning_rate"
                    )
                clipped.append(outside.float().mean().item())
                self.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.head.parameters(), config.max_grad_norm)
                self.optimizer.step()
        metrics = {"value_loss": float(np.mean(losses)), "value_clip_fraction": float(np.mean(clipped))}
        spread = returns.double().var(correction=0).item()
        if spread > 0:
            left = (returns - before).double().var(correction=0).item()
            metrics["explained_variance"] = 1.0 - left / spread
        return metrics

    @property
    def fitted(self) -> bool:
        """Whether the optimizer has taken a step, and so has a state."""
        return bool(self.optimizer.state)

    def tensors(self) -> Tensors:
        """The head's parameters by name and, once it is `fitted`, its optimizer's state."""
        found = {name: parameter.detach() for name, parameter in self.head.named_parameters()}
        for name, parameter in self.head.named_parameters():
            for part, value in self.optimizer.state.get(parameter, {}).items():
                found[f"{name}.{part}"] = value
        return found

    def shapes(self, *, fitted: bool) -> dict[str, tuple[int, ...]]:
        """Of what `tensors` gives."""
        named = {name: tuple(parameter.shape) for name, parameter in self.head.named_parameters()}
        state = {
            f"{n}.{part}": () if part == "step" else shape for n, shape in named.items() for part in MOMENTS
        }
        return {**named, **state} if fitted else named

    @torch.no_grad()
    def restore(self, found: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self.optimizer.state.clear()
        for name, parameter in self.head.named_parameters():
            parameter.copy_(found[name])
            if f"{name}.step" in found:
                state = {part: found[f"{name}.{part}"] for part in MOMENTS}
                self.optimizer.state[parameter] = {
                    part: value if part == "step" else value.to(parameter.device)
                    for part, value in state.items()
                }
