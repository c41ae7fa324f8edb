"""Operations against torch's own counter and published figures."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from azrl import flops
from azrl.shape import KNOWN, Shape

SHAPE = Shape(3, 48, 112, 6, 2, 8, 320, True, qkv_bias=True)


def counted(lengths: list[int], *, backward: bool) -> int:
    """What torch counts for the transformers model; its attention is not causal but square."""
    config = Qwen2Config(
        vocab_size=SHAPE.vocab, hidden_size=SHAPE.hidden, intermediate_size=SHAPE.intermediate,
        num_hidden_layers=SHAPE.layers, num_attention_heads=SHAPE.heads, num_key_value_heads=SHAPE.kv_heads,
        tie_word_embeddings=True, attn_implementation="eager",
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    with FlopCounterMode(display=False) as counter:
        for length in lengths:
            logits = model(torch.zeros(1, length, dtype=torch.long), use_cache=False).logits
            if backward:
                logits.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("lengths", [[1], [7], [64, 5]])
@pytest.mark.parametrize("backward", [False, True])
def test_operations_are_those_that_torch_counts_up_to_causality(lengths: list[int], backward: bool) -> None:
    formula = flops.training if backward else flops.forward
    ours = formula(SHAPE, lengths, sum(lengths))
    future = sum(length * (length - 1) // 2 for length in lengths)
    square = 4 * SHAPE.layers * SHAPE.queries * future * (3 if backward else 1)
    rotary = 2 * (SHAPE.head_dim // 2) * sum(lengths)  # angles, a product for transformers
    assert counted(lengths, backward=backward) - ours - square in (0, rotary)


def test_a_known_model_takes_six_operations_a_parameter_and_token() -> None:
    """Qwen2.5-0.5B: 6 x 494 million = 2.96 GFLOP a token, and 0.15 for attention at 1,000 tokens, causal half."""
    per_token = flops.training(KNOWN["0.5b"], [1000], 1000) / 1000
    assert per_token == pytest.approx(2.96e9 + 0.065e9 * 2, rel=0.005)


def test_what_is_not_predicted_costs_no_head() -> None:
    saved = flops.forward(SHAPE, [10], 10) - flops.forward(SHAPE, [10], 4)
    assert saved == 6 * 2 * SHAPE.vocab * SHAPE.hidden


def test_generation_reads_all_but_the_last_token_once() -> None:
    assert flops.generation(SHAPE, [5, 3], [4, 1]) == flops.forward(SHAPE, [8, 3], 5)


def test_utilisation() -> None:
    assert flops.utilisation(3e12, 2.0, 10e12) == pytest.approx(0.15)
    for seconds, peak in ((0.0, 1.0), (1.0, 0.0)):
        with pytest.raises(ValueError, match="want positive"):
            flops.utilisation(1.0, seconds, peak)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A40", 149.7e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA A400", None),
        ("Radeon", None),
    ],
)
def test_data_sheet_peaks(name: str, peak: float | None) -> None:
    assert flops.data_sheet_peak(name) == peak
