"""Several processes that train one model: who has which part of the work, and what they tell one another.

Each process holds a shard of every weight, gradient and moment (FSDP2, `fully_shard`) and computes its share of
the micro-batches. The gradient is the sum over all of them, so the step is the one that a single process takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from transformers.modeling_layers import GradientCheckpointingLayer

_PATIENCE = timedelta(days=1)  # the first process samples for as long as it takes while the others wait

T = TypeVar("T")


@dataclass
class Ranks:
    """`rank` of `size` processes. A single one talks to nobody. `apart` while the first is in a call that the others
    have to finish with it."""

    rank: int = 0
    size: int = 1
    control: Any = None
    apart: bool = False

    @classmethod
    def join(cls, device: str) -> Ranks:
        """Meet the other processes that `torchrun` started, on `device` (`cpu` or `cuda`)."""
        if not dist.is_initialized():
            dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=_PATIENCE)
        return cls(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=_PATIENCE))

    def gather(self, mine: T) -> list[T]:
        """What every process gives, in the order of ranks, to all of them."""
        if self.size == 1:
            return [mine]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine, self.control)
        return found

    def tell(self, message: T) -> T:
        """The first process's message, to all; the others' own is not looked at."""
        if self.size == 1:
            return message
        box = [message]
        dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]

    def share(self, parts: Sequence[T]) -> list[tuple[T, bool]]:
        """This process's parts, in turn with the others', each with whether it counts: all processes must take
        equally many, so that the last round may hold one that is somebody else's."""
        rounds = -(-len(parts) // self.size)
        mine = [self.rank + k * self.size for k in range(rounds)]
        return [(parts[min(i, len(parts) - 1)], i < len(parts)) for i in mine]


ALONE = Ranks()


def shard(scorer: nn.Module, dtype: torch.dtype, device: str, ranks: Ranks) -> None:
    """Spread the weights of `scorer` (a module that holds a transformers model) over all processes, block by
    block. In bfloat16 weights travel and multiply as such; gradients are summed in float32."""
    policy = MixedPrecisionPolicy(
        param_dtype=dtype if dtype != torch.float32 else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    mesh = init_device_mesh(device, (ranks.size,))
    for module in list(scorer.modules()):
        if isinstance(module, GradientCheckpointingLayer):
            fully_shard(module, mesh=mesh, mp_policy=policy)
    fully_shard(scorer, mesh=mesh, mp_policy=policy)
    register_fsdp_forward_method(scorer, "features")
