"""Parameter counts against transformers' own, and what config.json files are understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from shaped import qwen2
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from azrl.shape import KNOWN, SHIPPED, Shape, find_shape

SMALL: dict[str, Any] = {
    "vocab_size": 320, "hidden_size": 48, "intermediate_size": 112, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2,
}  # fmt: skip


def count(config: Any) -> int:
    """transformers' own number of parameters; nothing is allocated on the meta device."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config).num_parameters()


@pytest.mark.parametrize(
    "config",
    [
        Qwen2Config(**SMALL, tie_word_embeddings=True),
        Qwen2Config(**SMALL, tie_word_embeddings=False),
        Qwen3Config(**SMALL, head_dim=16, tie_word_embeddings=True),
        Qwen3Config(**SMALL, head_dim=16, tie_word_embeddings=False, attention_bias=True),
        LlamaConfig(**SMALL, tie_word_embeddings=False),
        LlamaConfig(**SMALL, tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
        MistralConfig(**SMALL, head_dim=24),
    ],
    ids=lambda config: f"{config.model_type}-{'tied' if config.tie_word_embeddings else 'untied'}",
)
def test_parameters_are_those_of_transformers(config: Any) -> None:
    assert Shape.of(json.loads(config.to_json_string(use_diff=False))).parameters == count(config)


@pytest.mark.parametrize(("size", "published"), [("0.5b", 0.494), ("1.5b", 1.54), ("3b", 3.09), ("7b", 7.61),
                                                ("14b", 14.7)])  # fmt: skip
def test_known_models_have_the_parameters_that_transformers_and_the_report_give(
    size: str, published: float
) -> None:
    shape = KNOWN[size]
    config = qwen2(shape)
    assert shape.parameters == count(config)
    assert shape.parameters / 1e9 == pytest.approx(published, rel=0.006)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Qwen/Qwen2.5-0.5B", "0.5b"),
        ("Qwen/Qwen2.5-Coder-3B", "3b"),
        ("Qwen/Qwen2.5-Coder-14B-Instruct", "14b"),
        ("qwen2.5-coder-7b", "7b"),
    ],
)
def test_names(name: str, size: str) -> None:
    assert find_shape(name) == KNOWN[size]


@pytest.mark.parametrize(
    "name", ["Qwen/Qwen2.5-32B", "Qwen/Qwen2.5-3B-GPTQ-Int4", "a/b-3B", "Qwen/Qwen2.5-VL-3B"]
)
def test_names_that_say_no_shape(name: str) -> None:
    assert find_shape(name) is None


def test_the_shipped_model_is_read_from_its_files() -> None:
    shape = find_shape("tiny")
    assert shape == find_shape(str(SHIPPED))
    assert shape is not None
    assert shape.parameters == pytest.approx((SHIPPED / "model.safetensors").stat().st_size / 4, rel=0.02)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no", "cannot be read"),
        ("[]", "holds no JSON object"),
        ('{"model_type": "gpt2"}', "'gpt2' is none of qwen2, qwen3, llama, mistral"),
        ('{"model_type": "qwen2", "num_attention_heads": 4}', "lacks a size or has a wrong one"),
        ('{"model_type": "qwen2", "num_attention_heads": 0, "hidden_size": 8}', "lacks a size"),
    ],
)
def test_a_config_that_says_no_shape(tmp_path: Path, text: str, message: str) -> None:
    assert find_shape(str(tmp_path)) is None
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        find_shape(str(tmp_path))
