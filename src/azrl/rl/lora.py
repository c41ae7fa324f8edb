"""Low-rank adapters (LoRA, arXiv 2106.09685), put into a transformers model in place by peft.

A matrix W of the model becomes W + alpha / rank * B A; only A and B are trained, in float32, and B starts as
zero. Whoever samples gets the sum (`Merged`), so an engine never knows that there are adapters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from azrl.config.schema import Training
from azrl.errors import UserError

if TYPE_CHECKING:
    from peft import LoraConfig

ADAPTER, _PREFIX, _SETTINGS = "default", "base_model.model.", "adapter_config.json"


def add_adapters(model: PreTrainedModel, config: Training, seed: int) -> LoraConfig:
    """Freeze `model` and give it fresh adapters; what A begins as is a function of `seed`. UserError: no peft, or
    `training.lora_targets` that this model does not have."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError("training.lora_rank needs the package peft: pip install peft") from error
    targets, base = list(config.lora_targets), str(model.config.name_or_path)
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]  # any number will do
        target_modules="all-linear" if targets == ["all-linear"] else targets,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
        base_model_name_or_path=None if Path(base).exists() else base,  # no path of this machine
    )
    model.requires_grad_(False)
    _find_linear(model, settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(settings, model, ADAPTER)
        except ValueError as error:
            raise UserError(f"training.lora_targets: {error}") from error
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
    return settings


def _find_linear(model: PreTrainedModel, settings: Any) -> None:
    """`all-linear` written out: every linear module but the head, by the last part of its name."""
    if settings.target_modules == "all-linear":
        head = model.get_output_embeddings()
        found = {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        }
        settings.target_modules = found


@contextmanager
def adapters_off(model: PreTrainedModel) -> Iterator[None]:
    """The model as it was before the adapters, while the block runs."""
    layers = [layer for _, layer in _adapted(model)]
    kept = [layer.scaling[ADAPTER] for layer in layers]
    for layer in layers:
        layer.scaling[ADAPTER] = 0.0
    try:
        yield
    finally:
        for layer, scale in zip(layers, kept, strict=True):
            layer.scaling[ADAPTER] = scale


class Merged(Mapping[str, Tensor]):
    """Parameter name to tensor as the model without adapters has them, each sum made when it is asked for.
    `params` are the adapted model's parameters by name, whole ones; what is summed is float32."""

    def __init__(self, model: PreTrainedModel, params: Mapping[str, Tensor]) -> None:
        self._params = params
        self._layers = {f"{name}.weight": layer for name, layer in _adapted(model)}
        self._names = {name.replace(".base_layer.", "."): name for name in params if ".lora_" not in name}

    def __getitem__(self, name: str) -> Tensor:
        weight = self._params[self._names[name]].detach()
        layer = self._layers.get(name)
        if layer is None:
            return weight
        prefix = name.removesuffix(".weight")
        down, up = (
            self._params[f"{prefix}.lora_{part}.{ADAPTER}.weight"].detach().float() for part in ("A", "B")
        )
        added = (up @ down) * layer.scaling[ADAPTER]
        return weight.float() + (added.T if layer.fan_in_fan_out else added)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def peft_names(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adapters under the names by which `PeftModel.from_pretrained` reads them."""
    return {_PREFIX + name.replace(f".{ADAPTER}.", "."): tensor for name, tensor in named.items()}


def save_settings(settings: LoraConfig, folder: Path) -> None:
    """Write adapter_config.json."""
    settings.save_pretrained(str(folder))


@torch.no_grad()
def merge_saved(folder: Path, model: PreTrainedModel, found: Mapping[str, Tensor]) -> None:
    """Add saved adapters, `found` under peft's names beside their settings in `folder`, into the plain `model`. Needs
    no peft. ValueError when they belong to another model."""
    try:
        settings = json.loads((folder / _SETTINGS).read_text())
        scale = settings["lora_alpha"] / settings["r"]
        turned = settings["fan_in_fan_out"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / _SETTINGS} is missing or damaged") from error
    named = dict(model.named_parameters())
    for name, down in found.items():
        prefix, is_down, _ = name.removeprefix(_PREFIX).partition(".lora_A.")
        if not is_down:
            continue
        added = scale * found[name.replace(".lora_A.", ".lora_B.")].float() @ down.float()
        added = added.T if turned else added
        weight = named.get(f"{prefix}.weight")
        if weight is None or weight.shape != added.shape:
            raise ValueError(f"the adapter of {prefix} belongs to another model")
        weight.copy_(weight.float() + added)


def _adapted(model: PreTrainedModel) -> list[tuple[str, Any]]:
    """The modules that carry adapters, by name; none in a model that has had no `add_adapters`."""
    names = [name.removesuffix(".lora_A") for name, _ in model.named_modules() if name.endswith(".lora_A")]
    return [(name, model.get_submodule(name)) for name in names]
