"""AdamW over the trained parameters, beside them or on the CPU, and the schedule of its learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from azrl.config.schema import Training

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
MASTER = "master"


def build_optimizer(parameters: Iterable[Tensor], config: Training) -> torch.optim.AdamW:
    """The optimizer that `config` asks for; its only group's params are in the order of `parameters`."""
    kind = OffloadedAdamW if config.optimizer_offload else torch.optim.AdamW
    return kind(
        parameters,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


def rate_share(config: Training, step: int, progress: float) -> float:
    """What part of the learning rate optimizer step `step`, counted from 1, takes."""
    warm = min(1.0, step / max(config.warmup_steps, 1))
    return warm * max(0.0, 1.0 - progress) if config.lr_schedule == "linear" else warm


class OffloadedAdamW(torch.optim.AdamW):
    """AdamW whose moments and float32 master copies lie in the CPU's memory and step there: gradients go down,
    weights come back up, rounded to what precision they have. Of sharded parameters each process keeps its
    part. A device then holds 4 bytes a parameter (weight and gradient in bfloat16) instead of 16."""

    def __init__(self, parameters: Iterable[Tensor], **settings: Any) -> None:
        self._live = list(parameters)
        masters = [local(p).detach().to("cpu", torch.float32, copy=True).requires_grad_() for p in self._live]
        super().__init__(masters, **settings)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take the live gradients down, step, bring the weights back."""
        masters = self.param_groups[0]["params"]
        for live, master in zip(self._live, masters, strict=True):
            master.grad = None if live.grad is None else local(live.grad).to("cpu", torch.float32)
        super().step()
        for live, master in zip(self._live, masters, strict=True):
            local(live).copy_(master)
            master.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the live gradients."""
        for live in self._live:
            live.grad = None


def local(tensor: Tensor) -> Tensor:
    """This process's part of a sharded tensor, or the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def get_state(optimizer: torch.optim.AdamW, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This process's optimizer state by `<parameter>.<part>`, empty before the first step. Live parameters less
    precise than their masters have those in it."""
    found: dict[str, Tensor] = {}
    for (name, live), leaf in zip(named.items(), optimizer.param_groups[0]["params"], strict=True):
        if leaf in optimizer.state:
            found |= {f"{name}.{part}": local(optimizer.state[leaf][part]) for part in MOMENTS}
        if live.dtype != leaf.dtype:
            found[f"{name}.{MASTER}"] = leaf.detach()
    return found


def wanted_state(
    optimizer: torch.optim.AdamW, named: Mapping[str, Tensor], *, stepped: bool
) -> dict[str, torch.Size]:
    """The names and whole shapes that `get_state` of all processes gives, before or after the first step."""
    shapes: dict[str, torch.Size] = {}
    for (name, live), leaf in zip(named.items(), optimizer.param_groups[0]["params"], strict=True):
        if stepped:
            shapes |= {f"{name}.{part}": live.shape for part in MOMENTS[1:]} | {
                f"{name}.step": torch.Size(())
            }
        if live.dtype != leaf.dtype:
            shapes[f"{name}.{MASTER}"] = live.shape
    return shapes


@torch.no_grad()
def set_state(
    optimizer: torch.optim.AdamW, named: Mapping[str, Tensor], found: Mapping[str, Tensor], *, stepped: bool
) -> None:
    """Take this process's parts of what `get_state` gave. Masters without an entry are the live weights."""
    optimizer.state.clear()
    for (name, live), leaf in zip(named.items(), optimizer.param_groups[0]["params"], strict=True):
        if leaf is not live:
            leaf.copy_(found[f"{name}.{MASTER}"] if live.dtype != leaf.dtype else local(live))
        if stepped:
            parts = {part: found[f"{name}.{part}"] for part in MOMENTS}
            optimizer.state[leaf] = {
                part: value if part == "step" else _like(value, leaf) for part, value in parts.items()
            }
            optimizer.state[leaf]["step"] = parts["step"].to(local(leaf).device)


def _like(part: Tensor, leaf: Tensor) -> Tensor:
    """`part` on the device of `leaf`, sharded as it is."""
    moved = part.to(local(leaf).device)
    if not isinstance(leaf, DTensor):
        return moved
    return DTensor.from_local(
        moved, leaf.device_mesh, leaf.placements, shape=leaf.shape, stride=leaf.stride()
    )
