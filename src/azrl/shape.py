"""The shape of a language model, and what follows from it: parameters, and multiplications a token.

Read from a model's config.json, or known by name where the files are not here yet. Pure arithmetic: nothing is
loaded and nothing is downloaded. Known architectures: Qwen2, Qwen3, Llama and Mistral, which are one family (RMSNorm,
rotary attention with shared key heads, a gated MLP) and differ in biases.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parent / "models" / "shipped"
FAMILY = ("qwen2", "qwen3", "llama", "mistral")


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes in elements. `lean`: `models.forward` knows the architecture."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    lean: bool = True

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """From the content of a config.json. ValueError: another architecture, or a size that is missing."""
        kind = config.get("model_type")
        if kind not in FAMILY:
            raise ValueError(f"model_type {kind!r} is none of {', '.join(FAMILY)}")
        try:
            heads = int(config["num_attention_heads"])
            hidden = int(config["hidden_size"])
            biased = bool(config.get("attention_bias", False))
            return cls(
                layers=int(config["num_hidden_layers"]),
                hidden=hidden,
                intermediate=int(config["intermediate_size"]),
                heads=heads,
                kv_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(config.get("head_dim") or hidden // heads),
                vocab=int(config["vocab_size"]),
                tied=bool(config.get("tie_word_embeddings", False)),
                qkv_bias=kind == "qwen2" or biased,
                out_bias=kind != "qwen2" and biased,
                mlp_bias=bool(config.get("mlp_bias", False)),
                qk_norm=kind == "qwen3",
                lean=kind in ("qwen2", "qwen3"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"config.json lacks a size or has a wrong one: {error!r}") from error

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all key heads together; that of the values is the same."""
        return self.kv_heads * self.head_dim

    @property
    def qkv(self) -> int:
        """Elements of the query, key and value matrices of a layer."""
        return self.hidden * (self.queries + 2 * self.keys)

    @property
    def out(self) -> int:
        """Elements of a layer's attention output matrix."""
        return self.queries * self.hidden

    @property
    def mlp(self) -> int:
        """Elements of one of a layer's three MLP matrices."""
        return self.hidden * self.intermediate

    @property
    def head(self) -> int:
        """Elements of the output matrix, and of the embedding."""
        return self.vocab * self.hidden

    @property
    def matrices(self) -> int:
        """Elements that each predicted token multiplies with, the head included once and the embedding, which is
        looked up, not at all."""
        return self.layers * (self.qkv + self.out + 3 * self.mlp) + self.head

    @property
    def parameters(self) -> int:
        """Every trainable number, a tied head counted once."""
        biases = (
            self.qkv_bias * (self.queries + 2 * self.keys)
            + self.out_bias * self.hidden
            + self.mlp_bias * (2 * self.intermediate + self.hidden)
        )
        norms = 2 * self.hidden + self.qk_norm * 2 * self.head_dim
        embedding = 0 if self.tied else self.head
        return self.matrices + embedding + self.layers * (biases + norms) + self.hidden


_SMALL, _LARGE = 151_936, 152_064
KNOWN = {
    "0.5b": Shape(24, 896, 4864, 14, 2, 64, _SMALL, tied=True, qkv_bias=True),
    "1.5b": Shape(28, 1536, 8960, 12, 2, 128, _SMALL, tied=True, qkv_bias=True),
    "3b": Shape(36, 2048, 11008, 16, 2, 128, _SMALL, tied=True, qkv_bias=True),
    "7b": Shape(28, 3584, 18944, 28, 4, 128, _LARGE, tied=False, qkv_bias=True),
    "14b": Shape(48, 5120, 13824, 40, 8, 128, _LARGE, tied=False, qkv_bias=True),
}
"""Qwen2.5 and Qwen2.5-Coder by size (their config.json files; arXiv 2412.15115, table 1)."""
_QWEN = re.compile(r"(?:.*/)?qwen2\.5-(?:coder-|math-)?(0\.5b|1\.5b|3b|7b|14b)(?:-instruct)?", re.IGNORECASE)


def find_shape(name: str) -> Shape | None:
    """The shape of `model.name`: from the shipped model's or a folder's config.json, or by name. None: not known
    without the files. ValueError: config.json is unreadable, or of an architecture that is not known here."""
    folder = SHIPPED if name == "tiny" else Path(name).expanduser()
    if folder.is_dir():
        file = folder / "config.json"
        if not file.is_file():
            return None
        try:
            config = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} cannot be read: {error}") from error
        if not isinstance(config, dict):
            raise ValueError(f"{file} holds no JSON object")
        return Shape.of(config)
    known = _QWEN.fullmatch(name)
    return KNOWN[known[1].casefold()] if known else None
