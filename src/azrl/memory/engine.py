"""What the engine holds: its own weights, the cache of keys and values, and the sampler's logits."""

from __future__ import annotations

from collections.abc import Iterator

from azrl.config.schema import Config
from azrl.memory.parts import FLOAT32, GIB, LOGIT_COPIES, Part
from azrl.shape import Shape

PREFILL_CELLS = 2048
"""Positions of prompts that the torch engine reads at once, one prompt at least (`engine.network`)."""


def engine(config: Config, shape: Shape, device: str, size: int, room: int | None) -> Iterator[Part]:
    """Parts of the engine that `engine.backend` names. `room`: bytes of the device, of which vLLM takes a share; what
    it needs at least where the device is not known."""
    if config.engine.backend == "torch":
        yield from _torch(config, shape, size)
    elif config.engine.vllm.server is None:
        yield _vllm(config, shape, device, size, room)


def _torch(config: Config, shape: Shape, size: int) -> Iterator[Part]:
    """A copy of the weights (two while a new one is made), the cache in float32, the sampler."""
    embedding = FLOAT32 * shape.head
    copy = embedding + size * shape.matrices
    yield Part("engine's copy", copy, "always", f"matrices in {size}-byte numbers, embedding in float32")
    yield Part("new copy", copy + 2 * embedding, "sync", "made before the old one goes; the head in float32")
    rows, prompt = config.engine.batch_rows, config.model.max_prompt_length
    length = prompt + config.model.max_response_length
    cache = 2 * FLOAT32 * shape.layers * rows * shape.keys * length
    yield Part("KV cache", cache, "generate", f"{rows} rows x {length:,} positions in float32")
    sampler = LOGIT_COPIES * FLOAT32 * rows * shape.vocab
    yield Part("sampler", sampler, "generate", f"{LOGIT_COPIES} x {rows} rows x {shape.vocab:,}")
    read = min(rows, max(1, PREFILL_CELLS // prompt)) * prompt
    # joined, rotated, spread over a grid, mixed; and a mask a prompt
    a_cell = shape.hidden + 7 * shape.queries + 5 * shape.keys + prompt
    yield Part("prefill", read * FLOAT32 * a_cell, "generate", f"{read:,} positions of prompts read at once")


def _vllm(config: Config, shape: Shape, device: str, size: int, room: int | None) -> Part:
    """On a GPU vLLM takes its share at the start, or what it needs at least, and gives it back during updates where it
    may sleep. On a CPU: its weights, and the cache that was asked for."""
    settings, weights = config.engine.vllm, size * shape.parameters
    if device == "cpu":
        return Part(
            "vLLM", weights + int(settings.cache_gb * GIB), "always", "weights, and engine.vllm.cache_gb"
        )
    phase = "generate" if settings.sleep else "always"
    longest = config.model.max_prompt_length + config.model.max_response_length
    least = weights + 2 * size * shape.layers * shape.keys * longest
    share = 0 if room is None else int(settings.memory_share * room)
    if share >= least:
        return Part("vLLM", share, phase, f"engine.vllm.memory_share {settings.memory_share}")
    return Part(
        "vLLM", least, phase, f"weights, and keys and values of {longest:,} positions, at the very least"
    )
