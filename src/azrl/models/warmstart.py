"""The warm start: supervised training from nothing on generated programs of one or two statements.

It teaches the syntax, the prompt formats and the beginnings of execution, so that self-play has something to
sharpen and to grow from. The learning rate falls, and then some steps at the full rate follow: a model that has settled
knows more, but self-play only sharpened every such model that was tried, and taught this one (docs/results.md; MiniCPM,
arXiv 2404.06395, goes on from checkpoints before the decay too). Deterministic by seed on one machine with one thread.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from azrl.config.schema import Config
from azrl.engine.weights import auto_dtype
from azrl.errors import UserError
from azrl.evals.items import held_out
from azrl.executor import Executor, Job, Limits, open_executor
from azrl.models.corpus import MAX_VALUE_CHARS, Execute, executed, tasks_of
from azrl.models.forward import hidden_states, logits
from azrl.models.load import load_model
from azrl.models.tiny import build_tiny
from azrl.tasks.prompts.base import Template
from azrl.tasks.prompts.compact import Compact
from azrl.tasks.types import Kind, Spec, Task

log = logging.getLogger(__name__)

BINS = (1, 2)
_RECENT = 64
_POOL = 4096
_WARM_UP = 200
_FLOOR = 0.05
_STIR_SEED = 7  # of the programs that the last steps show: others than before

Example = tuple[str, str]  # prompt, completion
Tokens = tuple[list[int], list[int]]


def examples(rng: Random, template: Template, execute: Execute, refused: set[str]) -> Iterator[Example]:
    """Endless supervised examples of all three kinds, deduction with its working, and of both ways to propose."""
    recent: deque[Task] = deque(maxlen=_RECENT)
    for found in executed(rng, BINS, execute, seen=refused, distinct=False):
        if any(len(value) > MAX_VALUE_CHARS for values in found.values for value in values):
            continue
        program, size, inputs, outputs = found.program, found.size, found.inputs, found.outputs
        tasks = tasks_of(found)
        for i in (0, 1, 2):
            task = Task(Kind.DEDUCTION, program, inputs[i : i + 1], outputs[i : i + 1])
            yield template.solve(task), "\n".join(found.values[i])
        for i in (3, 4):
            task = Task(Kind.ABDUCTION, program, inputs[i : i + 1], outputs[i : i + 1])
            yield template.solve(task), inputs[i]
        yield template.solve(tasks[Kind.INDUCTION]), program
        if rng.random() < 0.5:
            kind = rng.choice((Kind.ABDUCTION, Kind.DEDUCTION))
            references = rng.sample(list(recent), min(len(recent), rng.choice((0, 1, 2))))
            yield template.propose(Spec(kind, size), kind, references), f"{program}\nin {inputs[0]}"
        if rng.random() < 0.25:
            kind = Kind.INDUCTION
            yield template.propose(Spec(kind, size), kind, [tasks[kind]]), "\nin ".join(inputs)
        recent.append(tasks[Kind.DEDUCTION])


def batches(
    source: Iterator[Example], encode: Callable[[str], list[int]], end: int, tokens: int, rng: Random
) -> Iterator[list[Tokens]]:
    """Batches of about `tokens` padded tokens, of like lengths, in random order."""
    while True:
        pool = []
        for _ in range(_POOL):
            prompt, completion = next(source)
            # Encoding both at once and cutting would let a piece straddle the border; the engine never sees that.
            pool.append((encode(prompt), [*encode(completion)[1:], end]))
        pool.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
        packed: list[list[Tokens]] = [[]]
        for pair in pool:
            if (len(packed[-1]) + 1) * (len(pair[0]) + len(pair[1])) > tokens:
                packed.append([])
            packed[-1].append(pair)
        rng.shuffle(packed)
        yield from packed


def loss_of(model: PreTrainedModel, batch: Sequence[Tokens], pad: int, dtype: torch.dtype) -> torch.Tensor:
    """Mean cross-entropy of the completion tokens, in nats."""
    width = -8 * (-max(len(p) + len(c) for p, c in batch) // 8)
    ids = torch.full((len(batch), width), pad)
    wanted: list[int] = []
    targets: list[int] = []
    for row, (prompt, completion) in enumerate(batch):
        ids[row, : len(prompt) + len(completion)] = torch.tensor(prompt + completion)
        first = row * width + len(prompt) - 1
        wanted.extend(range(first, first + len(completion)))
        targets.extend(completion)
    positions = torch.arange(width).expand(len(batch), width)
    hidden = hidden_states(model, ids, positions, None, dtype, torch.tensor(wanted))
    return F.cross_entropy(logits(model, hidden, dtype).float(), torch.tensor(targets))


def fit(
    model: PreTrainedModel,
    source: Iterator[list[Tokens]],
    *,
    steps: int,
    seconds: float | None,
    learning_rate: float,
    decay: bool,
    pad: int,
    progress: Callable[[int, float], None],
) -> int:
    """Train for `steps` optimizer steps or `seconds`, whichever ends first; returns the steps taken."""
    dtype = auto_dtype()
    model.train()
    optimizers = _optimizers(model, learning_rate)
    began, mean = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        if seconds is not None and time.monotonic() - began >= seconds:
            return step - 1
        share = max(_FLOOR, 1 - step / steps) if decay else 1.0
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate * min(1.0, step / _WARM_UP) * share
        loss = loss_of(model, next(source), pad, dtype)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        mean = loss.item() if step == 1 else 0.98 * mean + 0.02 * loss.item()
        progress(step, mean)
    return steps


def _optimizers(model: PreTrainedModel, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon (Jordan 2024) for the hidden matrices, scaled to AdamW's step size, and AdamW for the rest."""
    named = dict(model.named_parameters())
    hidden = {n: p for n, p in named.items() if p.ndim == 2 and "embed" not in n}
    rest = [p for n, p in named.items() if n not in hidden]
    return [
        torch.optim.Muon(
            hidden.values(), lr=learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a transformers folder aside and rename it; an older one of the same name is replaced."""
    aside = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def outputs_by(executor: Executor) -> Execute:
    """What the corpus asks for: the outputs of (program, inputs) pairs, None where an input failed."""

    def execute(jobs: Sequence[tuple[str, Sequence[str]]]) -> list[Sequence[str | None]]:
        results = executor.run([Job(program, inputs, Limits()) for program, inputs in jobs])
        return [r.outputs or (None,) * len(inputs) for r, (_, inputs) in zip(results, jobs, strict=True)]

    return execute


def main(config: Config, argv: Sequence[str]) -> int:
    """`python main.py warmstart -- --out FOLDER`: build, or with `--start` go on with, a tiny model."""
    parser = argparse.ArgumentParser("python main.py warmstart --", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("models/tiny"), help="folder to write")
    parser.add_argument("--start", help="go on from this model (`tiny` or a folder) instead of from nothing")
    parser.add_argument("--steps", type=int, default=3200, help="optimizer steps")
    parser.add_argument("--stir", type=int, default=500, help="steps at the full learning rate after those")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds, whatever the step")
    parser.add_argument("--batch-tokens", type=int, default=4096, help="padded tokens a step")
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument(
        "--constant", action="store_true", help="keep the learning rate; default: decay to 5%%"
    )
    options = parser.parse_args(list(argv))
    if options.steps < 1 or options.stir < 0 or options.batch_tokens < 512 or options.learning_rate <= 0:
        raise UserError(
            "warmstart: --steps must be positive, --stir at least 0, --batch-tokens at least 512, "
            "--learning-rate positive"
        )

    torch.set_num_threads(config.engine.threads)
    seed = config.run.seed
    model, tokenizer = load_model(options.start) if options.start else build_tiny(seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def progress(step: int, mean: float) -> None:
        if step % 100 == 0:
            print(f"step {step} loss {mean:.3f} {time.monotonic() - began:.0f}s", flush=True)

    backend = "process" if config.executor.backend == "auto" else config.executor.backend
    settings = config.executor
    taken = 0
    with open_executor(backend, workers=settings.workers, minimum_layers=settings.minimum_layers) as executor:
        execute = outputs_by(executor)
        for data, steps, decay in (
            (seed, options.steps, not options.constant),
            (_STIR_SEED, options.stir, False),
        ):
            stream = examples(Random(data), Compact(), execute, set(held_out()))
            encode, end = tokenizer.encode, tokenizer.eos_token_id
            left = options.seconds and max(0.0, options.seconds - (time.monotonic() - began))
            taken += fit(
                model,
                batches(stream, encode, end, options.batch_tokens, Random(data)),
                steps=steps,
                seconds=left,
                learning_rate=options.learning_rate,
                decay=decay,
                pad=tokenizer.pad_token_id,
                progress=progress,
            )
    save(model, tokenizer, options.out)
    print(f"{taken} steps in {time.monotonic() - began:.0f}s: {options.out}")
    return 0
