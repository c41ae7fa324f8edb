"""Whether a run's memory fits this machine: the estimate beside what the GPU, or the machine, has."""

from __future__ import annotations

import os
from dataclasses import dataclass

from azrl import machine
from azrl.config import Config
from azrl.memory import ACCURACY, GIB, Estimate, estimate
from azrl.shape import find_shape

_NATIVE_BFLOAT16 = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
_LESS = {
    "optimizer": "training.lora_rank=32",
    "gradients": "training.lora_rank=32",
    "activations": "training.gradient_checkpointing=true or a lower training.micro_batch_tokens",
    "logits": "a lower training.head_tokens",
    "KV cache": "a lower engine.batch_rows",
    "sampler": "a lower engine.batch_rows",
    "vLLM": "a lower engine.vllm.memory_share",
    "engine": "a lower engine.vllm.memory_share or a server (engine.vllm.server)",
}
"""Which setting makes a part smaller; of the others only a smaller model does."""


@dataclass(frozen=True, slots=True)
class Room:
    """An estimate, and where it must fit: `size` bytes of `place`, or None where such a device is not here."""

    estimate: Estimate
    place: str
    size: int | None

    @property
    def verdict(self) -> str:
        """`fits`, `tight`, `too large`, or `no GPU here`."""
        return "no GPU here" if self.size is None else self.estimate.fits(self.size)

    def lines(self) -> list[str]:
        """A small table: each part, then the peak and the verdict."""
        rows = [
            f"{part.phase:<8} {part.name:<14} {part.size / GIB:8.2f} GiB  {part.why}"
            for part in self.estimate.parts
        ]
        has = f"{self.place} has {self.size / GIB:.1f} GiB: " if self.size is not None else ""
        peak = f"{self.estimate.peak / GIB:.2f} GiB"
        return [
            *rows,
            f"at most  {peak} (± {ACCURACY:.0%}), in {self.estimate.peak_phase}; {has}{self.verdict}",
        ]

    def advice(self) -> str:
        """The three largest parts at the peak, and what makes those smaller that count."""
        there = ("load",) if self.estimate.peak_phase == "load" else ("always", self.estimate.peak_phase)
        parts = sorted((p for p in self.estimate.parts if p.phase in there), key=lambda p: -p.size)
        most = ", ".join(f"{part.name} {part.size / GIB:.1f} GiB" for part in parts[:3])
        counting = [part.name for part in parts if part.size > 0.05 * self.estimate.peak]
        settings = dict.fromkeys(_LESS[name] for name in counting if name in _LESS)
        return f"most of it is {most}; try {', '.join(['a smaller model', *settings])}"


def room(config: Config) -> Room | None:
    """None without a model (`engine.backend: scripted`) and for a hub model whose shape is not known before its files
    are here. ValueError: a config.json that is unreadable or of an unknown architecture. Imports torch only where
    a GPU is."""
    if config.engine.backend == "scripted":
        return None
    shape = find_shape(config.model.name)
    if shape is None:
        return None
    found, _ = machine.gpus() if config.engine.device != "cpu" else ((), "")
    device = "cuda" if found or config.engine.device == "cuda" else "cpu"
    processes, size = int(os.environ.get("WORLD_SIZE", "1")), number_size(config, device)
    here: int | None = found[0].memory if found else None
    if device == "cpu":
        here = machine.memory() // processes
    estimated = estimate(config, shape, device, size, room=here, processes=processes)
    return Room(estimated, found[0].name if found else "this machine", here)


def number_size(config: Config, device: str) -> int:
    """Bytes of a number in which matrices multiply: what `engine.dtype` says, and `auto` takes."""
    if config.engine.dtype != "auto":
        return 2 if config.engine.dtype == "bfloat16" else 4
    return 2 if device == "cuda" or machine.cpu()[1] & _NATIVE_BFLOAT16 else 4


def memory_lines(config: Config) -> list[str]:
    """What to print of it, also where there is no estimate."""
    if config.engine.backend == "scripted":
        return []
    try:
        found = room(config)
    except ValueError as error:
        return [f"no estimate: {error}"]
    return found.lines() if found else [f"no estimate before the files of {config.model.name} are here"]
