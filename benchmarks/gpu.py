"""A real model's shape on a GPU: tokens per second, MFU, memory against the estimate, and where the loop's time goes.

    python main.py bench gpu [--trl-python VENV/bin/python]

Without a GPU it runs its CPU form: the same parts with the tiny model's shape, in seconds. All weights are random, so
nothing is downloaded; no answer ends early, so all are as long as they may be.

    learner   updates on whole sequences; tokens are those of prompts and answers, none of the padding's. Peak memory
              of an update against the estimate of azrl.memory, engine and process aside.
    batching  the same on answers of many lengths, for each way that the learner has to lay them in rows
    engine    the torch engine on distinct prompts; tokens are those written
    loop      whole steps of self-play on a buffer of proven tasks: its proposals are noise and are refused, its
              composites run in the sandbox, its answers are noise. Shares of wall time by phase; `idle` is all that
              is neither generation, update nor sync: what the GPU waits for
    trl       GRPOTrainer on the loop's own model and prompts, as many completions a step, of the same length: end to
              end against the loop's tokens per second. Its environment has the same torch. The two run one after
              the other: on a machine that others use, bench selfplay_speed is the fair comparison

MFU counts what the result needs (azrl.flops), against the card's data sheet and against a matrix product measured
here. The median of the rounds is told.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from support.allocated import allocated_peak, allocated_peak_cuda
from support.speed import Peaks, figures, find_peaks, timed
from transformers import Qwen2Config, Qwen2ForCausalLM

from azrl import flops
from azrl.buffer import TaskBuffer
from azrl.config.schema import Config, Training
from azrl.engine import Request
from azrl.engine.torch_engine import TorchEngine
from azrl.engine.weights import auto_dtype
from azrl.memory.learner import Pass, held, update
from azrl.models.load import load_tiny
from azrl.models.programs import argument, program
from azrl.rl.learner import TorchLearner
from azrl.rl.types import Sample
from azrl.runs.clock import PhaseClock
from azrl.selfplay.compose import build_policy, composed
from azrl.selfplay.execution import observe
from azrl.selfplay.loop import Parts, SelfPlay
from azrl.shape import KNOWN, Shape, find_shape
from azrl.tasks.types import Draft, Kind, Task

WORKER = Path(__file__).parent / "rivals" / "trl_worker.py"
GROUP = 8


@dataclass(frozen=True, slots=True)
class Form:
    """Sizes for a device: tokens of a sequence's prompt and answer, sequences an update, tokens a micro-batch, rows
    of the engine, tokens that it reads and writes in each, practised tasks a step and tokens of their answers."""

    shape: Shape
    prompt: int
    answer: int
    sequences: int
    budget: int
    rows: int
    written: int
    tasks: int
    attempt: int


def form_of(device: str) -> Form:
    """Qwen2.5-0.5B at 4,096 tokens on a GPU, the shipped model's shape elsewhere."""
    if device == "cuda":
        return Form(KNOWN["0.5b"], 512, 3584, 16, 16384, 256, 256, 64, 256)
    tiny = find_shape("tiny")
    assert tiny is not None
    return Form(tiny, 64, 192, 8, 1024, 32, 24, 8, 24)


class Numbers:
    """Token i is the character of code point i; no token ends a text. Code points stop before the surrogates."""

    eos_token_id = -1

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(token % 0xD000) for token in ids)


def random_model(shape: Shape, device: str) -> Any:
    """A Qwen2 of `shape` in float32 on `device`."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied, max_position_embeddings=8192,
    )  # fmt: skip
    with torch.device(device):
        return Qwen2ForCausalLM(config)


def samples_of(shape: Shape, prompt: int, answers: Sequence[int]) -> list[Sample]:
    """Random sequences, each with a prompt of its own."""
    rng = random.Random(0)

    def draw(length: int) -> tuple[int, ...]:
        return tuple(rng.randrange(shape.vocab) for _ in range(length))

    return [
        Sample(draw(prompt), draw(length), (-1.0,) * length, rng.uniform(-1, 1), ("deduction", "solver"))
        for length in answers
    ]


def learning(
    form: Form, device: str, dtype: torch.dtype, answers: Sequence[int], **settings: Any
) -> tuple[Callable[[], object], int, float]:
    """(one update, its tokens, its operations) of a fresh learner that has updated twice."""
    samples = samples_of(form.shape, form.prompt, answers)
    config = Training.model_validate(
        {"micro_batch_tokens": form.budget, "minibatches": 1, "importance_cap": None, "learning_rate": 1e-6}
        | settings
    )
    learner = TorchLearner(random_model(form.shape, device), config, pad_id=0, dtype=dtype)
    lengths = [form.prompt + length for length in answers]
    for seed in range(2):
        learner.update(samples, seed=seed)
    return (
        lambda: learner.update(samples, seed=9),
        sum(lengths),
        flops.training(form.shape, lengths, sum(answers)),
    )


def of_learner(form: Form, device: str, dtype: torch.dtype, peaks: Peaks, rounds: int) -> dict[str, Any]:
    answers = [form.answer] * form.sequences
    run, tokens, operations = learning(form, device, dtype, answers)
    told = figures(tokens, operations, [timed(device, run) for _ in range(rounds)], peaks)
    if device == "cuda":
        measured = allocated_peak_cuda(run)
    else:
        measured = allocated_peak(lambda: learning(form, device, dtype, answers))
    width = form.prompt + form.answer
    rows = form.budget // width
    work = Pass(
        rows * width, rows * form.answer, width, dtype.itemsize, device == "cpu" and dtype.itemsize == 2
    )
    settings = Training(micro_batch_tokens=form.budget)
    parts = [*held(form.shape, settings, 1), *update(form.shape, settings, work, lean=True)]
    estimated = sum(part.size for part in parts)
    return told | {
        "tokens_per_update": tokens,
        "sequence_tokens": width,
        "peak_memory": {
            "measured": measured,
            "estimated": estimated,
            "ratio": round(estimated / measured, 3),
        },
    }


def of_batching(form: Form, device: str, dtype: torch.dtype, peaks: Peaks, rounds: int) -> dict[str, Any]:
    """Answer lengths spread evenly on a logarithmic scale from a sixteenth of the longest."""
    count = form.sequences
    answers = [max(1, round(form.answer * 16 ** (i / (count - 1) - 1))) for i in range(count)]
    names = ("padded", "shared", "packed")
    contenders = {name: learning(form, device, dtype, answers, batching=name) for name in names}
    spent: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, (run, _, _) in contenders.items():
            spent[name].append(timed(device, run))
    return {
        name: figures(tokens, operations, spent[name], peaks)
        for name, (_, tokens, operations) in contenders.items()
    }


def of_engine(form: Form, device: str, dtype: torch.dtype, peaks: Peaks, rounds: int) -> dict[str, Any]:
    model = random_model(form.shape, device)
    engine = TorchEngine(model, Numbers(), dtype=dtype, batch_rows=form.rows, max_prompt_length=form.written)
    rng = random.Random(0)
    limit = min(form.shape.vocab, 0xD000)
    prompts = ["".join(chr(rng.randrange(limit)) for _ in range(form.written)) for _ in range(form.rows)]

    def run() -> None:
        made = engine.generate([Request(text, form.written, seed=i) for i, text in enumerate(prompts)])
        assert all(len(group[0].token_ids) == form.written for group in made)

    run()
    lengths = [form.written] * form.rows
    operations = flops.generation(form.shape, lengths, lengths)
    seconds = [timed(device, run) for _ in range(rounds)]
    return figures(sum(lengths), operations, seconds, peaks) | {
        "rows": form.rows,
        "prompt_tokens": form.written,
    }


class Counting:
    """A learner that remembers the sequences that it was given: prompt, and tokens of the answer."""

    def __init__(self, learner: Any) -> None:
        self._learner = learner
        self.seen: list[tuple[tuple[int, ...], int]] = []

    def update(self, samples: Sequence[Sample], **keywords: Any) -> dict[str, float]:
        self.seen += [(sample.prompt_ids, len(sample.token_ids)) for sample in samples]
        return self._learner.update(samples, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learner, name)


def needed(shape: Shape, seen: Sequence[tuple[tuple[int, ...], int]]) -> float:
    """Operations to write these answers and to learn from them, each different prompt read once for either."""
    writing = flops.generation(shape, [len(prompt) for prompt, _ in seen], [answer for _, answer in seen])
    whole = [len(prompt) + answer for prompt, answer in seen]
    learning_too = flops.training(shape, whole, sum(answer for _, answer in seen))
    once = {prompt for prompt, _ in seen}
    again = sum(flops.forward(shape, [len(p)], 0) for p, _ in seen) - sum(
        flops.forward(shape, [len(p)], 0) for p in once
    )
    return writing + learning_too - 4 * again


def fill(parts: Parts, count: int) -> list[Task]:
    """Tasks of the tiny world that the gate admits, into the buffer."""
    rng = random.Random(0)
    drafts = []
    for i in range(4 * count):
        source, kind = program(rng, 1 + i % 4)
        drafts.append(
            Draft((Kind.DEDUCTION, Kind.ABDUCTION)[i % 2], source, (argument(rng, kind),), bin=1 + i % 4)
        )
    verdicts = parts.gate.admit(drafts, lambda jobs: observe(parts.executor, parts.limits, jobs))
    admitted = [verdict for verdict in verdicts if verdict.task is not None][:count]
    for v in admitted:
        parts.buffer.add(v.task, key=v.key, signature=v.signature, step=0, fingerprints=(v.fingerprint,))
    return [v.task for v in admitted]


def settings_of(form: Form, device: str, folder: Path) -> Config:
    """A step's proposals and attempts add up to `tasks` x (GROUP + 1) completions, less repeated tasks."""
    return Config.model_validate(
        {
            "model": {"name": str(folder), "max_response_length": form.attempt},
            "engine": {"device": device, "batch_rows": form.rows},
            "executor": {"backend": "process", "workers": 2},
            "tasks": {"kinds": ["deduction", "abduction"]},
            "selfplay": {
                "batch_size": form.tasks, "practise": form.tasks, "composites": form.tasks, "n_samples": GROUP,
            },
            "training": {"micro_batch_tokens": form.budget, "minibatches": 1, "learning_rate": 1e-6},
        }
    )  # fmt: skip


def of_loop(
    form: Form, device: str, folder: Path, peaks: Peaks, rounds: int
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Figures of whole steps, and prompts with their tasks' outputs for a rival."""
    clock = PhaseClock()
    with ExitStack() as stack:
        config = settings_of(form, device, folder)
        buffer = stack.enter_context(TaskBuffer(folder / "buffer.sqlite"))
        parts = stack.enter_context(composed(config, build_policy(config), buffer, clock))
        tasks = fill(parts, 4 * form.tasks)
        asked = [(parts.solver.prompt(task), task.outputs[0]) for task in tasks]
        counting = Counting(parts.learner)
        parts.learner = counting
        loop = SelfPlay(parts)
        parts.sync({})
        loop.step(1)
        counting.seen.clear()
        clock.lap()
        laps = []
        for step in range(2, 2 + rounds):
            loop.step(step)
            laps.append(clock.lap())
    walls = [lap["time/wall"] for lap in laps]
    phases = {
        "generation": ("generate",),
        "execution": ("gate", "judge"),
        "update": ("update",),
        "sync": ("sync",),
    }
    shares = {
        name: round(sum(lap.get(f"time/{phase}", 0.0) for lap in laps for phase in named) / sum(walls), 4)
        for name, named in phases.items()
    }
    shares["idle"] = round(1.0 - shares["generation"] - shares["update"] - shares["sync"], 4)
    tokens = sum(answer for _, answer in counting.seen)
    told = figures(tokens / rounds, needed(form.shape, counting.seen) / rounds, walls, peaks)
    return told | {"completions_per_step": len(counting.seen) / rounds, "share_of_wall": shares}, asked


def of_trl(
    python: Path, form: Form, device: str, folder: Path, asked: Sequence[tuple[str, str]], rounds: int
) -> dict[str, Any]:
    """Steps of GRPOTrainer in its own process, after one that warms up."""
    completions = form.tasks * (GROUP + 1)
    settings = {
        "weights": "float32",
        "bf16": device == "cuda",
        "use_cpu": device == "cpu",
        "beta": 0.0,
        "gradient_checkpointing": False,
        "num_generations": GROUP,
        "per_device_train_batch_size": completions,
        "max_completion_length": form.attempt,
        "learning_rate": 1e-6,
        "shuffle_dataset": False,
        "max_steps": 10**6,
        "report_to": "none",
        "logging_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    prompts, answers = zip(*asked, strict=True)
    (folder / "prompts.json").write_text(json.dumps({"prompt": prompts, "answer": answers}))
    command = [str(python), str(WORKER), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:

        def step() -> dict[str, int]:
            print(1, file=worker.stdin, flush=True)
            line = worker.stdout.readline()
            if not line:
                raise SystemExit("the TRL worker ended; its last words are above")
            return json.loads(line)

        step()
        made, seconds = [], []
        for _ in range(rounds):
            seconds.append(timed("cpu", lambda: made.append(step())))
        worker.stdin.close()
    tokens = sum(each["tokens"] for each in made)
    return {
        "tokens_per_second": round(tokens / sum(seconds)),
        "completions_per_step": sum(each["completions"] for each in made) / rounds,
        "seconds": [round(value, 4) for value in seconds],
    }


def main() -> None:
    """Measure what this machine can, print and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--trl-python", type=Path, help="interpreter of an environment with TRL; without, no rival"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else auto_dtype()
    form, peaks = form_of(device), find_peaks(device, dtype)
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        "form": asdict(form) | {"parameters": form.shape.parameters},
        "load_before": round(os.getloadavg()[0], 2),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "peaks": peaks.told(),
        "learner": of_learner(form, device, dtype, peaks, args.rounds),
        "batching": of_batching(form, device, dtype, peaks, args.rounds),
        "engine": of_engine(form, device, dtype, peaks, args.rounds),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_model(form.shape, "cpu").save_pretrained(folder)
        load_tiny()[1].save_pretrained(folder)
        result["loop"], asked = of_loop(form, device, folder, peaks, args.rounds)
        if args.trl_python:
            result["trl"] = of_trl(args.trl_python, form, device, folder, asked, args.rounds)
            rival = result["trl"]["tokens_per_second"]
            result["times_trl"] = round(result["loop"]["tokens_per_second"] / rival, 2)
    print(json.dumps(result, indent=1))
    known = json.loads(args.out.read_text()) if args.out.exists() else {}
    args.out.write_text(json.dumps(known | {device: result}, indent=1) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
