"""Saving a learner and going on from it, bit for bit, whole or adapters, in one process or several.

    model.safetensors                the trained weights, whole: a transformers checkpoint; or, with LoRA,
    adapter_model.safetensors        the adapters alone, as peft reads them: the base model is not saved again
    optimizer.safetensors            AdamW's state; of several processes each writes a part, ...-1-of-2...
    reference.safetensors            the starting weights, when a KL penalty needs them
    learner.json                     counters and digests

Parts are joined along the first dimension when they are read, so any number of processes may go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from azrl.rl.lora import merge_saved, peft_names, save_settings
from azrl.rl.optimizer import get_state, local, set_state, wanted_state
from azrl.rl.ranks import ALONE, Ranks
from azrl.rl.storage import Shards, read_index, write_index, write_tensors

WEIGHTS, ADAPTERS = "model.safetensors", "adapter_model.safetensors"
REFERENCE = "reference.safetensors"


@dataclass(frozen=True)
class Trained:
    """What is saved. `named` are the trained parameters; `reference` the frozen starting weights, if any;
    `adapters` peft's settings when it is adapters that are trained."""

    model: PreTrainedModel
    named: Mapping[str, Tensor]
    optimizer: torch.optim.AdamW
    reference: Mapping[str, Tensor]
    adapters: Any
    ranks: Ranks

    @property
    def file(self) -> str:
        """Where the trained weights lie."""
        return WEIGHTS if self.adapters is None else ADAPTERS


def save(folder: Path, trained: Trained, version: int) -> None:
    """Write everything; OSError when the disk refuses. All processes must call it together."""
    ranks, digests = trained.ranks, dict[str, str]()
    first = ranks.rank == 0
    weights = dict(whole(trained.named, keep=first))
    if trained.adapters is not None:
        weights = peft_names(weights)
    reference = dict(whole(trained.reference, keep=first))
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        if trained.adapters is None:
            trained.model.config.save_pretrained(folder)
        else:
            save_settings(trained.adapters, folder)
        digests[trained.file] = write_tensors(folder / trained.file, weights)
        if reference:
            digests[REFERENCE] = write_tensors(folder / REFERENCE, reference)
    ranks.tell(None)  # the folder is there
    part = optimizer_files(ranks.size)[ranks.rank]
    digests[part] = write_tensors(folder / part, get_state(trained.optimizer, trained.named))
    for other in ranks.gather(digests):
        digests |= other
    if first:
        write_index(folder, {"version": version, "processes": ranks.size}, digests)
    ranks.tell(None)  # whole


def load(folder: Path, trained: Trained) -> int:
    """Take over what `save` wrote; returns the version. ValueError, and nothing changed, when the folder is not
    one of ours, is damaged or belongs to another model."""
    meta, digests = read_index(folder)
    version, processes = meta.get("version"), meta.get("processes", 1)
    if type(version) is not int or type(processes) is not int or processes < 1:
        raise ValueError(f"{folder} holds no learner: its counters are missing")
    stepped = version > 0
    if trained.file not in digests:
        kinds = ("adapters (LoRA)", "whole weights")
        saved, wanted = kinds if trained.adapters is None else kinds[::-1]
        raise ValueError(f"{folder} holds {saved}, and training.lora_rank asks for {wanted}")
    with ExitStack() as stack:

        def opened(files: list[str], wanted: Mapping[str, Any]) -> Shards:
            shards = Shards(folder, files, digests)
            stack.callback(shards.close)
            shards.check(wanted)
            return shards

        into = dict(trained.named) if trained.adapters is None else peft_names(trained.named)
        weights = opened([trained.file], {name: p.shape for name, p in into.items()})
        parts = wanted_state(trained.optimizer, trained.named, stepped=stepped)
        state = opened(optimizer_files(processes), parts)
        if trained.reference:
            kept = opened([REFERENCE], {name: p.shape for name, p in trained.reference.items()})
            _copy(kept, trained.reference, trained.ranks)
        _copy(weights, into, trained.ranks)
        found = {name: _mine(state.whole(name), trained.ranks) for name in parts}
        set_state(trained.optimizer, trained.named, found, stepped=stepped)
    return version


def load_weights(folder: Path, model: PreTrainedModel) -> None:
    """Give `model`, the plain one that was trained, the weights that `save` wrote, adapters added in. ValueError as
    `load`."""
    _, digests = read_index(folder)
    named = dict(model.named_parameters())
    adapted = ADAPTERS in digests
    shards = Shards(folder, [ADAPTERS if adapted else WEIGHTS], digests)
    try:
        if adapted:
            merge_saved(folder, model, {name: shards.whole(name) for name in shards.names()})
        else:
            shards.check({name: p.shape for name, p in named.items()})
            _copy(shards, named, ALONE)
    finally:
        shards.close()


def optimizer_files(processes: int) -> list[str]:
    """The names of the optimizer's files, one a process."""
    if processes == 1:
        return ["optimizer.safetensors"]
    return [f"optimizer-{rank:05d}-of-{processes:05d}.safetensors" for rank in range(1, processes + 1)]


def whole(named: Mapping[str, Tensor], *, keep: bool = True) -> Iterator[tuple[str, Tensor]]:
    """Whole tensors by name: sharded ones are gathered, one at a time, into the CPU's memory (all processes
    must go through together; those that do not `keep` get none)."""
    for name, tensor in named.items():
        if isinstance(tensor, DTensor):
            gathered = tensor.full_tensor().detach()
            if keep:
                yield name, gathered.cpu()
        elif keep:
            yield name, tensor.detach()


@torch.no_grad()
def _copy(found: Shards, into: Mapping[str, Tensor], ranks: Ranks) -> None:
    for name, parameter in into.items():
        tensor = found.whole(name)
        local(parameter).copy_(_mine(tensor, ranks) if isinstance(parameter, DTensor) else tensor)


def _mine(tensor: Tensor, ranks: Ranks) -> Tensor:
    """This process's part of a whole tensor, cut as FSDP2 cuts: along the first dimension, the last part short."""
    if ranks.size == 1 or tensor.ndim == 0:
        return tensor
    parts = tensor.chunk(ranks.size)
    return (parts[ranks.rank] if ranks.rank < len(parts) else tensor[:0]).clone()
