"""Tokens per second of the embedded engine against transformers `generate`: same model, machine and prompts.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/engine.py [--model random|shipped]

The contenders (engine, `generate`, and `generate` that also returns the log-probabilities of its tokens, as the
engine always does; each in float32 and bfloat16) take turns within each round, so that a busy moment of the
machine falls on all of them. The numbers are medians over the rounds; ratios are taken within a round, against
the faster precision of each rival. Wall time is what counts; processor time beside it tells how much of a
difference other processes made. All sample at temperature 1. With `random` (about 1 M parameters, vocabulary
512) no token ends a completion, so all are `--tokens` long; with `shipped` the model ends them and only tokens
up to the end count.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import Qwen2Config, Qwen2ForCausalLM

from azrl.engine import Request
from azrl.engine.torch_engine import TorchEngine

ROWS = 128
WORKLOADS = {"128 prompts x 1": 1, "16 prompts x 8": 8}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Generate = Callable[[list[str], int, int], int]
"""(prompts, samples of each, seed) -> useful tokens."""


class Codepoints:
    """Token i is the character of code point i; no token ends a text."""

    eos_token_id = -1
    pad_token_id = 0

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def random_model() -> tuple[Any, Any, list[str]]:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=512, hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=1, max_position_embeddings=256, tie_word_embeddings=True, initializer_range=0.05,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    rng = random.Random(0)
    prompts = ["".join(chr(rng.randint(1, 511)) for _ in range(rng.randint(20, 60))) for _ in range(ROWS)]
    return Qwen2ForCausalLM(config).eval(), Codepoints(), prompts


def shipped_model() -> tuple[Any, Any, list[str]]:
    from azrl.models.load import load_tiny
    from azrl.models.programs import argument, program
    from azrl.tasks.prompts import build_template
    from azrl.tasks.types import Kind, Task

    model, tokenizer = load_tiny()
    rng, template, prompts = random.Random(0), build_template("compact"), []
    for row in range(ROWS):
        source, kind = program(rng, 1 + row % 4)
        prompts.append(template.solve(Task(Kind.DEDUCTION, source, (argument(rng, kind),), ("0",))))
    return model.eval(), tokenizer, prompts


def of_engine(model: Any, tokenizer: Any, dtype: torch.dtype, tokens: int) -> Generate:
    engine = TorchEngine(model, tokenizer, dtype=dtype, batch_rows=ROWS, max_prompt_length=200)

    def run(prompts: list[str], n: int, seed: int) -> int:
        groups = engine.generate(
            [Request(text, tokens, n, seed=1000 * seed + i) for i, text in enumerate(prompts)]
        )
        return sum(len(completion.token_ids) for group in groups for completion in group)

    return run


def of_transformers(
    model: Any, tokenizer: Any, dtype: torch.dtype, tokens: int, *, logprobs: bool = False
) -> Generate:
    model = copy.deepcopy(model).to(dtype)
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    settings = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": tokens}
    settings |= {"eos_token_id": eos if eos >= 0 else None, "pad_token_id": pad}
    settings |= {"return_dict_in_generate": True, "output_logits": logprobs}

    @torch.inference_mode()
    def run(prompts: list[str], n: int, seed: int) -> int:
        torch.manual_seed(seed)
        rows = [tokenizer.encode(text) for text in prompts]
        width = max(map(len, rows))
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        made = model.generate(ids, attention_mask=mask, num_return_sequences=n, **settings)
        out = made.sequences[:, width:]
        if logprobs:
            scores = [logits.float().log_softmax(-1) for logits in made.logits]
            torch.stack(scores, 1).gather(2, out[..., None]).tolist()
        texts = [tokenizer.decode(row) for row in out.tolist()]
        assert len(texts) == len(prompts) * n
        ended = out == eos
        lengths = torch.where(ended.any(1), ended.int().argmax(1) + 1, out.shape[1])
        return int(lengths.sum())

    return run


def measure(contenders: dict[str, Generate], prompts: list[str], n: int, rounds: int) -> dict[str, Any]:
    chosen = prompts[: ROWS // n]
    speeds: dict[str, dict[str, list[float]]] = {clock: {name: [] for name in contenders} for clock in CLOCKS}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            starts = {clock: now() for clock, now in CLOCKS.items()}
            made = run(chosen, n, turn)
            for clock, now in CLOCKS.items():
                if turn > 0:  # the first round warms up
                    speeds[clock][name].append(made / (now() - starts[clock]))
    return {clock: summary(by_name) for clock, by_name in speeds.items()}


def summary(speeds: dict[str, list[float]]) -> dict[str, Any]:
    ours = speeds["engine bfloat16"]
    return {
        "tokens_per_second": {name: round(statistics.median(s)) for name, s in speeds.items()},
        "engine_bfloat16_to_faster": {
            rival: round(statistics.median(map(ratio, ours, *(speeds[f"{rival} {d}"] for d in DTYPES))), 2)
            for rival in ("generate", "generate+logprobs")
        },
        "rounds": {name: [round(value) for value in s] for name, s in speeds.items()},
    }


def ratio(ours: float, *theirs: float) -> float:
    return ours / max(theirs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=("random", "shipped"), default="random")
    parser.add_argument("--tokens", type=int, default=32, help="longest completion")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "engine.json")
    args = parser.parse_args()
    model, tokenizer, prompts = random_model() if args.model == "random" else shipped_model()
    contenders = {
        f"{name} {label}": build(model, tokenizer, dtype, args.tokens)
        for name, build in (
            ("engine", of_engine),
            ("generate", of_transformers),
            ("generate+logprobs", partial(of_transformers, logprobs=True)),
        )
        for label, dtype in DTYPES.items()
    }
    results = {
        "model": args.model,
        "parameters": model.num_parameters(),
        "rows": ROWS,
        "max_new_tokens": args.tokens,
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "workloads": {name: measure(contenders, prompts, n, args.rounds) for name, n in WORKLOADS.items()},
    }
    for workload, clocks in results["workloads"].items():
        for clock, result in clocks.items():
            print(f"{workload}, {args.model} model, {clock} time")
            for name, speed in result["tokens_per_second"].items():
                print(f"  {name:28s} {speed:8,d} tokens/s")
            for rival, times in result["engine_bfloat16_to_faster"].items():
                print(f"  engine bfloat16 is {times:.2f} times the faster {rival}")
    known = json.loads(args.out.read_text()) if args.out.exists() else {}
    args.out.write_text(json.dumps(known | {args.model: results}, indent=1) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
