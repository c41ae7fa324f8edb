"""The model as the learner uses it: precision, adapters, checkpointing, sharding, and what it is compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from azrl.config.schema import Training
from azrl.errors import UserError
from azrl.models.forward import is_lean
from azrl.rl.batching import MicroBatch
from azrl.rl.fit import prepare
from azrl.rl.lora import adapters_off, add_adapters
from azrl.rl.ranks import Ranks, shard
from azrl.rl.scoring import TokenScorer


@dataclass(frozen=True)
class Policy:
    """`scorer` is trained; `reference`, if any, gives a batch's log-probabilities under the starting weights,
    without gradient: another copy of them (`start`), or with `adapters` the same model without those."""

    scorer: TokenScorer
    start: TokenScorer | None
    adapters: Any
    reference: Callable[[MicroBatch], Tensor] | None
    shares_prompts: bool

    @property
    def device(self) -> torch.device:
        """Where batches must lie."""
        return self.scorer.model.device

    def trained(self) -> dict[str, Tensor]:
        """The parameters that are trained, by name."""
        return {name: p for name, p in self.scorer.model.named_parameters() if p.requires_grad}

    def reference_parameters(self) -> Mapping[str, Tensor]:
        """The weights of the separate copy, none where there is none."""
        return {} if self.start is None else dict(self.start.model.named_parameters())


def build_policy(
    model: PreTrainedModel,
    config: Training,
    dtype: torch.dtype,
    *,
    seed: int,
    ranks: Ranks,
    temperature: float,
) -> Policy:
    """Make `model` what `config` asks for. UserError: what it, or this machine, cannot do."""
    weights = getattr(torch, config.weights_dtype)
    if weights != torch.float32 and dtype == torch.float32:
        raise UserError(f"training.weights_dtype={config.weights_dtype} needs engine.dtype=bfloat16")
    model = model.to(weights).eval().requires_grad_(True)
    adapters = add_adapters(model, config, seed) if config.lora_rank else None
    sharded = ranks.size > 1
    recompute = config.gradient_checkpointing
    scorer = TokenScorer(model, dtype, config.head_tokens, recompute and is_lean(model) and not sharded)
    if recompute and not scorer.recompute:
        _recompute_blocks(model)
    flash = config.batching == "packed" and model.device.type == "cuda" and dtype != torch.float32
    shares_prompts = config.batching != "padded" and not flash  # the flash kernel knows no shared prompts
    prepare(scorer, config.batching, shared=shares_prompts, lean=not sharded)
    start = None
    if config.use_kl and adapters is None:
        start = copy.deepcopy(scorer).requires_grad_(False)
    if sharded:
        for part in (scorer, start):
            if part is not None:
                shard(part, dtype, model.device.type, ranks)
    reference: Callable[[MicroBatch], Tensor] | None = None
    if config.use_kl:
        reference = partial(_frozen, start or scorer, temperature)
    return Policy(scorer, start, adapters, reference, shares_prompts)


def _recompute_blocks(model: PreTrainedModel) -> None:
    """Let every block of a transformers model forget its activations; dropout stays off, because only the blocks
    themselves are told that they train, not what is in them."""
    blocks: list[Any] = [
        module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)
    ]
    if not blocks:
        raise UserError(f"training.gradient_checkpointing: {type(model).__name__} has no blocks that know it")
    for block in blocks:
        block.gradient_checkpointing = True
        block._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        block.training = True


@torch.no_grad()
def _frozen(scorer: TokenScorer, temperature: float, batch: MicroBatch) -> Tensor:
    """Under the starting weights: a copy that was never trained, or the trained model without its adapters."""
    with adapters_off(scorer.model):
        return scorer(batch, temperature=temperature)[0]
