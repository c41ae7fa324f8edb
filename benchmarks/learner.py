"""Tokens per second of an update: against TRL's GRPOTrainer on the same model and batch, and packing against padding.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/learner.py --trl-python VENV/bin/python

The batch: `--prompts` questions of the frozen probe, 8 completions of each by the shipped tiny model, advantages at
random. An update is one optimizer step on all of it, in one pass where it fits `--micro-batch`. Contenders take turns
within each round, on one core with one thread each; medians over the rounds, ratios within a round, by processor
time and by the clock. A token is one of a prompt or of a completion, each completion behind its own prompt, padding
not counted: the same number for all.

    azrl shared    completions of a prompt share a padded row (the default)
    azrl packed    the same rows end to end, no padding
    azrl padded    a padded row a completion, of like lengths together
    trl ...        GRPOTrainer's own step (loss, accumulation, clipping, AdamW) on the recorded batch; no generation

Without `--trl-python` the layouts alone. A second batch, `long`, has one completion a prompt and lengths as of long
answers (log-normal): what packing is for.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from azrl.config.schema import Training
from azrl.engine.base import Request
from azrl.engine.torch_engine import TorchEngine
from azrl.evals.items import load_probe
from azrl.models.load import load_tiny
from azrl.models.tiny import SHIPPED
from azrl.rl.batching import assemble, microbatches_of, rows_of
from azrl.rl.learner import TorchLearner
from azrl.rl.types import Sample
from azrl.tasks.prompts import build_template

GROUP = 8
LAYOUTS = ("shared", "packed", "padded")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CLOCKS = ("cpu", "wall")
WORKER = Path(__file__).parent / "rivals" / "trl_worker.py"
TRL = {
    "trl float32": {"weights": "float32", "bf16": False},
    "trl bfloat16": {"weights": "float32", "bf16": True},
    "trl bfloat16 weights": {"weights": "bfloat16", "bf16": True},
}


@dataclass(frozen=True)
class Contender:
    """One update, and the processor time (seconds) that whoever makes it has used so far."""

    step: Callable[[], None]
    used: Callable[[], float]


def answers(prompts: int, tokens: int) -> list[Sample]:
    """What the tiny model writes to questions of the frozen probe."""
    model, tokenizer = load_tiny()
    engine = TorchEngine(model, tokenizer, dtype=torch.float32, batch_rows=256, max_prompt_length=384)
    template = build_template("compact", forbidden_modules=(), pairs=6)
    tasks = list(load_probe())
    chosen = tasks[:: max(1, len(tasks) // prompts)][:prompts]
    requests = [Request(template.solve(task), tokens, GROUP, seed=i) for i, task in enumerate(chosen)]
    rng = np.random.default_rng(0)
    return [
        Sample(made.prompt_ids, made.token_ids, made.logprobs, float(rng.normal()), ("deduction", "solver"))
        for group in engine.generate(requests)
        for made in group
    ]


def long_answers(count: int, vocabulary: int) -> list[Sample]:
    """One completion a prompt, as many tokens as exp(N(5, 0.8)), at most 900."""
    rng = np.random.default_rng(1)
    found = []
    for length in np.exp(rng.normal(5.0, 0.8, count)).clip(8, 900).astype(int).tolist():
        prompt, tokens = (
            tuple(rng.integers(1, vocabulary, n).tolist()) for n in (rng.integers(20, 60), length)
        )
        found.append(
            Sample(prompt, tokens, (-math.log(vocabulary),) * length, float(rng.normal()), ("long", "solver"))
        )
    return found


def of_azrl(samples: Sequence[Sample], layout: str, dtype: torch.dtype, budget: int) -> Contender:
    """An update of the shipped tiny model."""
    model, tokenizer = load_tiny()
    config = Training(minibatches=1, learning_rate=1e-6, batching=layout, micro_batch_tokens=budget)
    learner = TorchLearner(model, config, pad_id=tokenizer.pad_token_id, dtype=dtype)

    def step() -> None:
        learner.update(samples, seed=0)

    return Contender(step, time.process_time)


@contextmanager
def of_trl(python: Path, samples: Sequence[Sample], rows: int, own: dict[str, Any]) -> Iterator[Contender]:
    """One optimizer step of GRPOTrainer, `rows` completions at a time."""
    settings = {
        "use_cpu": True,
        "beta": 0.0,
        "gradient_checkpointing": False,
        "num_generations": GROUP,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": len(samples) // rows,
        "learning_rate": 1e-6,
        "max_steps": 10**6,
        "report_to": "none",
        "logging_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        **own,
    }
    batch = {
        "prompt": [sample.prompt_ids for sample in samples],
        "completion": [sample.token_ids for sample in samples],
        "advantage": [sample.advantage for sample in samples],
        "pad": 0,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in SHIPPED.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "batch.json").write_text(json.dumps(batch))
        questions = [str(i) for i in range(len(samples) // GROUP)]
        (folder / "prompts.json").write_text(json.dumps({"prompt": questions, "answer": questions}))
        command = [str(python), str(WORKER), name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:

            def step() -> None:
                print(1, file=worker.stdin, flush=True)
                if not worker.stdout.readline():
                    raise SystemExit("the TRL worker ended; its last words are above")

            def used() -> float:
                fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
                return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

            yield Contender(step, used)
            worker.stdin.close()


def tokens_of(samples: Sequence[Sample]) -> int:
    return sum(len(sample.prompt_ids) + len(sample.token_ids) for sample in samples)


def layout_facts(samples: Sequence[Sample], budget: int) -> dict[str, dict[str, float]]:
    """For each layout the cells that matrices multiply for a token, and the share of them that is padding; for
    `packed` also the padding of attention's grids. `one rectangle`: everything as wide as the longest."""
    pairs = [(sample.prompt_ids, sample.token_ids) for sample in samples]
    tokens, found = tokens_of(samples), {}
    for layout in LAYOUTS:
        rows, packed = rows_of(pairs, shared=layout != "padded"), layout == "packed"
        parts = microbatches_of(rows, budget, packed=packed)
        real = sum(row.length for row in rows)
        cells = real if packed else sum(len(part) * part[0].length for part in parts)
        found[layout] = {"cells_per_token": cells / tokens, "padding_share": 1 - real / cells}
        if packed:
            device = torch.device("cpu")
            packings = [assemble(part, pairs, 0, device, packed=True).packing for part in parts]
            grids = sum(grid.rows * grid.width for packing in packings if packing for grid in packing.grids)
            found[layout]["padding_share_of_attention"] = 1 - real / grids
    width = max(len(p) for p, _ in pairs) + max(len(c) for _, c in pairs)
    whole = len(pairs) * width
    found["one rectangle"] = {"cells_per_token": whole / tokens, "padding_share": 1 - tokens / whole}
    return {name: {key: round(value, 3) for key, value in facts.items()} for name, facts in found.items()}


def measure(contenders: dict[str, Contender], tokens: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Tokens per second of each contender in each round, by processor time and by the clock; one round warms up."""
    speeds: dict[str, dict[str, list[float]]] = {clock: {name: [] for name in contenders} for clock in CLOCKS}
    for turn in range(rounds + 1):
        for name, contender in contenders.items():
            starts = contender.used(), time.perf_counter()
            contender.step()
            ends = contender.used(), time.perf_counter()
            if turn > 0:
                for clock, start, end in zip(CLOCKS, starts, ends, strict=True):
                    speeds[clock][name].append(tokens / (end - start))
    return speeds


def summary(speeds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and medians of ratios within a round: to TRL in the same precision, to the fastest TRL, and to the
    default layout."""
    times: dict[str, float] = {}
    ours = [name for name in speeds if name.startswith("azrl")]
    rivals = [name for name in speeds if name.startswith("trl")]
    for name in ours:
        precision = name.rpartition(" ")[2]
        against = {other: [other] for other in (f"azrl shared {precision}", f"azrl padded {precision}")}
        if rivals:
            against |= {f"trl {precision}": [f"trl {precision}"], "the fastest trl": rivals}
        for label, others in against.items():
            if label != name:
                pairs = zip(speeds[name], *(speeds[other] for other in others), strict=True)
                times[f"{name} / {label}"] = round(
                    statistics.median(mine / max(them) for mine, *them in pairs), 2
                )
    return {
        "tokens_per_second": {name: round(statistics.median(values)) for name, values in speeds.items()},
        "times": times,
        "rounds": {name: [round(value) for value in values] for name, values in speeds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trl-python", type=Path, help="interpreter of an environment with TRL")
    parser.add_argument(
        "--prompts", type=int, default=16, help=f"prompts a batch, {GROUP} completions of each"
    )
    parser.add_argument("--tokens", type=int, default=96, help="longest completion")
    parser.add_argument("--long", type=int, default=48, help="completions of the long batch; 0 leaves it out")
    parser.add_argument("--micro-batch", type=int, default=16384, help="training.micro_batch_tokens")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trl-rows", type=int, default=128, help="completions TRL learns from at once")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "learner.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    result: dict[str, Any] = {
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "load_before": round(os.getloadavg()[0], 2),
        "rounds": args.rounds,
        "micro_batch_tokens": args.micro_batch,
    }
    if args.trl_python:
        ask = "import importlib.metadata as m; print(*map(m.version, ('torch', 'transformers', 'trl')))"
        told = subprocess.run([str(args.trl_python), "-c", ask], capture_output=True, text=True, check=True)
        *shared, trl = told.stdout.split()
        if shared != list(result["versions"].values()):
            raise SystemExit(f"torch and transformers differ: {result['versions']} here, {shared} beside TRL")
        result["versions"]["trl"] = trl
    batches = {"answers": answers(args.prompts, args.tokens)}
    if args.long:
        batches["long"] = long_answers(args.long, load_tiny()[0].config.vocab_size)
    for name, samples in batches.items():
        with ExitStack() as stack:
            contenders = {
                f"azrl {layout} {precision}": of_azrl(samples, layout, dtype, args.micro_batch)
                for precision, dtype in PRECISIONS.items()
                for layout in LAYOUTS
            }
            if args.trl_python and name == "answers":
                for rival, own in TRL.items():
                    contenders[rival] = stack.enter_context(
                        of_trl(args.trl_python, samples, min(args.trl_rows, len(samples)), own)
                    )
            speeds = measure(contenders, tokens_of(samples), args.rounds)
        lengths = sorted(len(sample.token_ids) for sample in samples)
        result[name] = {
            "completions": len(samples),
            "tokens": tokens_of(samples),
            "completion_tokens": {"median": lengths[len(lengths) // 2], "longest": lengths[-1]},
            "layouts": layout_facts(samples, args.micro_batch),
            **{clock: summary(found) for clock, found in speeds.items()},
        }
        print(f"batch {name}: {len(samples)} completions, {tokens_of(samples):,d} tokens")
        for contender, speed in result[name]["cpu"]["tokens_per_second"].items():
            print(f"  {contender:24s}{speed:8,d} tokens a second of processor time")
        for pair, times in result[name]["cpu"]["times"].items():
            print(f"  {pair}: {times:.2f}")
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
