"""The memory estimate against what torch allocates when the same model generates and learns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from shaped import qwen2
from transformers import Qwen2ForCausalLM

from azrl.config import Config
from azrl.config.schema import Training
from azrl.engine import Request
from azrl.engine.torch_engine import TorchEngine
from azrl.memory import ACCURACY, PROCESS, Estimate, Part, estimate
from azrl.memory.learner import adapters
from azrl.rl.learner import TorchLearner
from azrl.rl.lora import add_adapters
from azrl.rl.types import Sample
from azrl.shape import KNOWN, Shape

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from support.allocated import allocated_peak


class Letters:
    """Every character is a token and none ends a text."""

    eos_token_id = -1

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def configured(prompt: int, answer: int, samples: int, budget: int, rows: int, **training: Any) -> Config:
    """`samples` answers a step, two at least, each behind a prompt of `prompt` tokens."""
    return Config.model_validate(
        {
            "model": {"max_prompt_length": prompt, "max_response_length": answer},
            "engine": {"batch_rows": rows},
            "selfplay": {"k_references": 0, "batch_size": samples - 1, "practise": 0, "max_new_tasks": 1,
                         "solver_rollouts": "fresh"},
            "training": {"micro_batch_tokens": budget, "minibatches": 1, **training},
        }
    )  # fmt: skip


def play(config: Config, shape: Shape, dtype: torch.dtype, phase: str) -> list[Any]:
    """Build what a run holds, and go twice through one phase of it; returns what stays."""
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(qwen2(shape, eos_token_id=None))
    prompt, answer, rows = (
        config.model.max_prompt_length,
        config.model.max_response_length,
        config.engine.batch_rows,
    )
    engine = TorchEngine(model, Letters(), dtype=dtype, batch_rows=rows, max_prompt_length=prompt)
    learner = TorchLearner(model, config.training, pad_id=0, dtype=dtype)

    def samples(count: int, length: int) -> list[Sample]:
        return [
            Sample((1 + i,) * prompt, (2,) * length, (-1.0,) * length, float(i % 3 - 1), ("a", "solver"))
            for i in range(count)
        ]

    learner.update(samples(1, 1), seed=0)  # makes the moments
    if phase == "update":
        learner.update(samples(config.selfplay.batch_size + 1, answer), seed=1)
    else:
        engine.generate([Request(chr(1 + i) * prompt, answer) for i in range(rows)])
    return [model, engine, learner]


def shaped(hidden: int, intermediate: int, layers: int, vocab: int, tied: bool = True) -> Shape:
    return Shape(layers, hidden, intermediate, 4, 1, hidden // 4, vocab, tied, qkv_bias=True)


FLOAT, BFLOAT = torch.float32, torch.bfloat16
SMALL = shaped(64, 256, 4, 256)
LORA, FORGET, CHUNKS = {"lora_rank": 8}, {"gradient_checkpointing": True}, {"head_tokens": 24}
LESS = {**LORA, **FORGET, "weights_dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("shape", "dtype", "config", "phase"),
    [
        pytest.param(SMALL, FLOAT, configured(32, 96, 6, 384, 4), "update", id="activations"),
        pytest.param(SMALL, BFLOAT, configured(32, 96, 6, 384, 4), "update", id="activations in bfloat16"),
        pytest.param(SMALL, FLOAT, configured(32, 96, 3, 2048, 2), "update", id="one pass"),
        pytest.param(shaped(64, 128, 2, 8192), BFLOAT, configured(16, 48, 6, 192, 2), "update", id="logits"),
        pytest.param(shaped(256, 768, 3, 512, False), FLOAT, configured(8, 24, 4, 64, 2), "update", id="weights"),
        pytest.param(shaped(256, 768, 3, 512, False), BFLOAT, configured(8, 24, 4, 64, 2), "update", id="casts"),
        pytest.param(SMALL, FLOAT, configured(32, 64, 6, 300, 2, use_kl=True), "update", id="reference"),
        pytest.param(shaped(64, 128, 2, 8192), FLOAT, configured(16, 48, 6, 192, 2, **CHUNKS), "update", id="chunks"),
        pytest.param(SMALL, FLOAT, configured(32, 96, 6, 384, 4, batching="packed"), "update", id="packed"),
        pytest.param(SMALL, FLOAT, configured(32, 96, 6, 384, 4, **FORGET), "update", id="checkpointing"),
        pytest.param(SMALL, FLOAT, configured(32, 96, 6, 384, 4, **LORA), "update", id="adapters"),
        pytest.param(SMALL, BFLOAT, configured(32, 96, 6, 384, 4, **LORA), "update", id="adapters in bfloat16"),
        pytest.param(SMALL, BFLOAT, configured(32, 96, 6, 384, 4, **LESS), "update", id="adapters, less"),
        pytest.param(shaped(64, 64, 8, 256), FLOAT, configured(120, 8, 2, 128, 96), "generate", id="cache"),
        pytest.param(shaped(64, 64, 1, 8192), FLOAT, configured(8, 4, 2, 16, 96), "generate", id="sampler"),
    ],
)  # fmt: skip
def test_the_estimate_is_within_15_percent_of_the_measured_peak(
    shape: Shape, dtype: torch.dtype, config: Config, phase: str
) -> None:
    found = estimate(config, shape, "cpu", dtype.itemsize)
    expected = found.peak - PROCESS["cpu"]
    measured = allocated_peak(lambda: play(config, shape, dtype, phase))
    print(f"{expected / measured:.3f}", {part.name: part.size for part in found.parts}, measured)
    assert found.peak_phase == phase
    assert expected == pytest.approx(measured, rel=ACCURACY)


def test_adapters_are_those_of_peft() -> None:
    config = qwen2(SMALL)
    for targets in (("all-linear",), ("q_proj", "down_proj")):
        training = Training(lora_rank=8, lora_targets=targets)
        model = Qwen2ForCausalLM(config)
        add_adapters(model, training, seed=0)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert adapters(SMALL, training) == trained


@pytest.mark.parametrize("processes", [2, 8])
def test_processes_share_what_is_trained(processes: int) -> None:
    config = configured(64, 64, 64, 128, 2)
    alone, shared = (
        {part.name: part.size for part in estimate(config, KNOWN["7b"], "cuda", 2, processes=p).parts}
        for p in (1, processes)
    )
    for name in ("weights", "optimizer", "gradients"):
        assert shared[name] == alone[name] // processes


def test_an_offloaded_optimizer_leaves_weights_and_gradients() -> None:
    config = configured(64, 64, 64, 128, 2, optimizer_offload=True, weights_dtype="bfloat16")
    parts = {part.name: part.size for part in estimate(config, KNOWN["7b"], "cuda", 2).parts}
    assert "optimizer" not in parts
    assert parts["weights"] == parts["gradients"] == 2 * KNOWN["7b"].parameters


def test_verdicts_leave_room_for_the_estimates_error() -> None:
    found = Estimate((Part("weights", 100, "always", ""),))
    assert [found.fits(room) for room in (115, 114, 87, 86)] == ["fits", "tight", "tight", "too large"]
