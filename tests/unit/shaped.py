"""A transformers configuration of a given shape, for what is counted or measured against the real thing."""

from __future__ import annotations

from typing import Any

from transformers import Qwen2Config

from azrl.shape import Shape


def qwen2(shape: Shape, **more: Any) -> Qwen2Config:
    """Qwen2 with the sizes of `shape`."""
    return Qwen2Config(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied,
        **more,
    )
