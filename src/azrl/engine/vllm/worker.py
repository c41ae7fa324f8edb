"""What runs inside vLLM's worker, in whatever process that is: weights taken in place, and a proof of what was taken.

Importing it, before the model is built, changes two things on a CPU. Matrix products read the live parameters: vLLM
would multiply by copies that it packed when the model was loaded, which no new weights reach. And nothing is compiled:
vLLM would spend a minute on a few lines of its sampler. Everywhere, vLLM's weight-transfer interface gains a backend,
`azrl_file`: the trainer leaves a safetensors file where both see it, and every worker loads its part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.layers import utils
from vllm.platforms import current_platform

TRANSFER = "azrl_file"
_pack = utils.dispatch_cpu_unquantized_gemm


def _multiply_live(layer: Any, remove_weight: bool) -> None:
    """In place of vLLM's choice of a kernel, for matrices; whatever is no matrix stays vLLM's."""
    if layer.weight.ndim == 2:
        layer.cpu_linear = torch.nn.functional.linear
    else:
        _pack(layer, remove_weight)


if current_platform.is_cpu():
    utils.dispatch_cpu_unquantized_gemm = _multiply_live
    torch.compiler.set_stance("force_eager")


@torch.no_grad()
def load(model: Any, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Copy weights with transformers' names into vLLM's `model`, in place. ValueError when a name or a shape is not
    the model's, or when some of its parameters were given nothing."""
    try:
        loaded = model.load_weights(weights)
    except (AssertionError, AttributeError, KeyError, RuntimeError) as error:
        raise ValueError(f"the weights do not fit vLLM's model: {type(error).__name__} {error}") from error
    if loaded is None:
        raise ValueError(f"vLLM's {type(model).__name__} does not say which weights it took")
    missed = sorted({name for name, _ in model.named_parameters()} - loaded)
    if missed:
        raise ValueError(f"vLLM was given no weights for {', '.join(missed[:5])} ({len(missed)} in all)")


def dump(model: Any, file: Path) -> None:
    """Write the parameters as vLLM holds them, under its own names."""
    save_file({name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}, file)


@dataclass
class FileInit(WeightTransferInitInfo):
    """Nothing has to be agreed on beforehand."""


@dataclass
class FileUpdate(WeightTransferUpdateInfo):
    """Where the safetensors file lies."""

    path: str


class FileTransfer(WeightTransferEngine[FileInit, FileUpdate]):
    """Weights through a file that trainer and worker both see."""

    init_info_cls = FileInit
    update_info_cls = FileUpdate

    def init_transfer_engine(self, init_info: FileInit) -> None:
        """Nothing to connect."""

    def start_weight_update(self) -> None:
        """Weights are taken in place."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load the file. (The inherited method waits for an accelerator, which a CPU has not.)"""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: FileUpdate) -> None:
        """Load the file into this worker's part of the model."""
        load(self.model, load_file(update_info.path).items())
        if not current_platform.is_cpu():
            torch.accelerator.synchronize()

    def finish_weight_update(self) -> None:
        """Weights were taken in place."""

    def shutdown(self) -> None:
        """Nothing is held."""


WeightTransferEngineFactory.register_engine(TRANSFER, FileTransfer)


class Extension:
    """Methods that a server's workers have besides vLLM's own."""

    def azrl_dump(self, file: str) -> None:
        """Write this worker's parameters to `file`, with its rank in the name when it is not the first."""
        rank = self.rank  # type: ignore[attr-defined]
        path = Path(file)
        dump(self.model_runner.get_model(), path if rank == 0 else path.with_suffix(f".{rank}{path.suffix}"))  # type: ignore[attr-defined]
