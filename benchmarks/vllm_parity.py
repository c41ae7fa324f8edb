"""vLLM against transformers, the learner and the embedded engine: tokens, log-probabilities, hand-over, speed.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE .venv-vllm/bin/python main.py bench vllm_parity [--prompts 96]

On the shipped tiny model, in float32 and bfloat16. Before and after updates (every weight changed by about a tenth of
itself): the share of greedy completions that equal transformers' to the last token, and how far vLLM's
log-probabilities of sampled tokens are from transformers' and from the learner's, absolute and relative beyond one
nat (the measure that a sync is judged by). Then the time of a hand-over, and tokens a second of wall time beside the
embedded engine's, in turns, medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from azrl.config.schema import Training
from azrl.engine import Request
from azrl.engine.torch_engine import TorchEngine
from azrl.engine.vllm.engine import VllmEngine
from azrl.engine.vllm.local import LocalHost
from azrl.engine.vllm.version import installed
from azrl.evals.items import load_probe
from azrl.models.load import load_tiny, located
from azrl.rl.learner import TorchLearner
from azrl.tasks.prompts import build_template

LONGEST, TOKENS, UPDATES, ROUNDS = 384, 48, 3, 5
Pair = tuple[tuple[int, ...], tuple[int, ...]]


def main() -> None:
    """Measure both precisions, one vLLM at a time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "vllm_parity.json")
    args = parser.parse_args()
    results: dict[str, Any] = {
        "prompts": args.prompts,
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {
            "vllm": installed(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    for dtype in (torch.float32, torch.bfloat16):
        results[str(dtype).removeprefix("torch.")] = measured(dtype, args.prompts)
    args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1), f"\nwrote {args.out}")


def measured(dtype: torch.dtype, count: int) -> dict[str, Any]:
    """All that is measured in one precision."""
    model, tokenizer = load_tiny()
    learner = TorchLearner(model, Training(), pad_id=tokenizer.pad_token_id, dtype=dtype)
    host = LocalHost(
        model=located("tiny")[0],
        dtype=str(dtype).removeprefix("torch."),
        batch_rows=64,
        longest=LONGEST + TOKENS,
        cache_gb=0.25,
        memory_share=0.5,
        sleeps=False,
    )
    engine = VllmEngine(host, tokenizer, max_prompt_length=LONGEST)
    torch_engine = TorchEngine(model, tokenizer, dtype=dtype, batch_rows=64, max_prompt_length=LONGEST)
    template = build_template("compact", forbidden_modules=(), pairs=6)
    items = load_probe()
    prompts = [template.solve(task) for task in items[:: len(items) // count]][:count]
    weights = dict(model.named_parameters())
    rounds = []
    for update in range(UPDATES + 1):
        if update:
            perturb(model, update)
        engine.sync(weights)
        rounds.append(compared(engine, learner, model, prompts))
    handed = [timed(lambda: engine.sync(weights)) for _ in range(20)]
    requests = [Request(text, max_tokens=TOKENS, n=4, seed=i) for i, text in enumerate(prompts)]
    torch_engine.sync(weights)
    speed: dict[str, list[float]] = {"vllm": [], "torch": []}
    for _ in range(ROUNDS):
        for name, contender in (("vllm", engine), ("torch", torch_engine)):
            began = time.perf_counter()
            written = sum(len(c.token_ids) for group in contender.generate(requests) for c in group)
            speed[name].append(written / (time.perf_counter() - began))
    engine.close()
    return {
        "updates": rounds,
        "hand_over_ms": round(1e3 * statistics.median(handed), 2),
        "tokens_per_second": {name: round(statistics.median(found)) for name, found in speed.items()},
    }


def compared(
    engine: VllmEngine, learner: TorchLearner, model: PreTrainedModel, prompts: Sequence[str]
) -> dict[str, Any]:
    """Greedy completions, and the log-probabilities of sampled ones."""
    greedy = engine.generate([Request(text, max_tokens=TOKENS, temperature=0.0) for text in prompts])
    equal = [c.token_ids == generated(model, c.prompt_ids) for [c] in greedy]
    sampled = engine.generate(
        [Request(text, max_tokens=TOKENS, n=2, seed=i) for i, text in enumerate(prompts)]
    )
    done = [c for group in sampled for c in group]
    pairs: list[Pair] = [(c.prompt_ids, c.token_ids) for c in done]
    ours = [c.logprobs for c in done]
    return {
        "greedy_equal": round(sum(equal) / len(equal), 4),
        "tokens": sum(len(row) for row in ours),
        "to_transformers": gaps(ours, [scores(model, pair) for pair in pairs]),
        "to_learner": gaps(ours, learner.score(pairs)),
        "scored_to_learner": gaps(engine.score(pairs), learner.score(pairs)),
    }


def gaps(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> dict[str, float]:
    """Worst and mean difference, and both relative beyond one nat."""
    both = [pair for a, b in zip(ours, theirs, strict=True) for pair in zip(a, b, strict=True)]
    absolute = [abs(a - b) for a, b in both]
    relative = [abs(a - b) / max(1.0, abs(b)) for a, b in both]
    found = {"worst": max(absolute), "mean": statistics.fmean(absolute)}
    found |= {"worst_relative": max(relative), "mean_relative": statistics.fmean(relative)}
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def scores(model: PreTrainedModel, pair: Pair) -> list[float]:
    """By a plain float32 forward pass."""
    prompt, tokens = pair
    with torch.no_grad():
        logprobs = model(torch.tensor([[*prompt, *tokens]])).logits[0].log_softmax(-1)
    return [logprobs[len(prompt) - 1 + i, token].item() for i, token in enumerate(tokens)]


def generated(model: PreTrainedModel, prompt: Sequence[int]) -> tuple[int, ...]:
    """Greedily, by transformers in float32."""
    ids = torch.tensor([list(prompt)])
    written = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False,
        pad_token_id=model.config.pad_token_id,
    )  # fmt: skip
    return tuple(written[0, len(prompt) :].tolist())


def perturb(model: PreTrainedModel, seed: int) -> None:
    """Change every weight by about a tenth of itself."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.1 * torch.randn(parameter.shape, generator=rng))


def timed(call: Any) -> float:
    """Seconds of wall time."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
