"""What the tests of vLLM share: whether it is here, two small models, and what transformers says of them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from runs_cli import command, environment
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from azrl.engine.base import Completion, Request
from azrl.engine.vllm.version import trouble
from azrl.evals.items import load_probe
from azrl.models.load import load_model
from azrl.models.tokenizer import build_tokenizer
from azrl.tasks.prompts import build_template

LACKING = trouble()
MARKS = [
    pytest.mark.vllm,
    pytest.mark.skipif(LACKING is not None, reason=f"no vLLM: {LACKING}"),
    pytest.mark.timeout(900),
]
CLOSE = 1e-5
"""Nats by which two float32 implementations of one model may differ."""


def played(folder: Path, *words: str) -> None:
    """Run `python main.py` in `folder` to its end, which must be a success; vLLM may take minutes to start."""
    result = subprocess.run(
        command(*words),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def random_model(folder: Path) -> Path:
    """A Qwen3 with weights drawn at random, grouped heads and a head of its own, and the tiny tokenizer."""
    tokenizer = build_tokenizer()
    torch.manual_seed(7)
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 16) * 16,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        initializer_range=0.15,  # logits differ clearly
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def loaded(name: str) -> tuple[PreTrainedModel, Any]:
    model, tokenizer = load_model(name)
    return model.eval(), tokenizer


def prompts(count: int) -> list[str]:
    """Questions of the frozen probe, all kinds."""
    template = build_template("compact", forbidden_modules=(), pairs=6)
    items = load_probe()
    return [template.solve(task) for task in items[:: max(1, len(items) // count)]][:count]


def perturb(model: PreTrainedModel, seed: int) -> None:
    """Change every weight by about a tenth of itself."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.1 * torch.randn(parameter.shape, generator=rng))


def scores(model: PreTrainedModel, prompt: Sequence[int], tokens: Sequence[int]) -> list[float]:
    """Log-probabilities of `tokens` after `prompt` by a plain forward pass."""
    ids = torch.tensor([[*prompt, *tokens]])
    with torch.no_grad():
        logprobs = model(ids).logits[0].log_softmax(-1)
    return [logprobs[len(prompt) - 1 + i, token].item() for i, token in enumerate(tokens)]


def generated(model: PreTrainedModel, prompt: Sequence[int], length: int) -> tuple[int, ...]:
    """What transformers writes greedily."""
    ids = torch.tensor([list(prompt)])
    written = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=length,
        do_sample=False,
        pad_token_id=model.config.pad_token_id,
    )
    return tuple(written[0, len(prompt) :].tolist())


def assert_greedy_as_transformers(engine: Any, model: PreTrainedModel) -> None:
    """Same tokens, and log-probabilities within 1e-5, by generating and by scoring."""
    found = engine.generate([Request(text, max_tokens=32, temperature=0.0) for text in prompts(12)])
    done: list[Completion] = [completion for [completion] in found]
    scored = engine.score([(c.prompt_ids, c.token_ids) for c in done])
    for completion, score in zip(done, scored, strict=True):
        assert completion.token_ids == generated(model, completion.prompt_ids, 32)
        expected = scores(model, completion.prompt_ids, completion.token_ids)
        assert completion.logprobs == pytest.approx(expected, abs=CLOSE, rel=CLOSE)
        assert score == pytest.approx(expected, abs=CLOSE, rel=CLOSE)
