"""Tokens per second of generating, judging and learning, against TRL's GRPOTrainer on the same model and prompts.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/selfplay_speed.py --trl-python VENV/bin/python

A step samples `--prompts` x 8 completions, judges them and takes one optimizer step on all of them. The contenders
take turns within each round, pinned to one core together with their sandboxes and with one thread each, so that a
busy moment of the machine falls on all of them. Numbers are medians over the rounds; the ratio is taken within a
round, against the faster of TRL's settings. A token counts when it is a completion's, up to and including its end.

    azrl            the loop's own solver, judge (every answer that needs it is executed), GRPO advantages, update
                    and proven sync, on the very prompts that TRL has
    azrl self-play  whole steps of the loop: as many completions, some of them proposals, gate and buffer included;
                    only for a model that can propose
    trl ...         GRPOTrainer, generating by `generate`, its reward a comparison of texts, logging and saving off;
                    in float32, in bfloat16 (autocast over float32 weights) and in plain bfloat16 weights

`--model random` (untrained: long completions that say nothing) or any `model.name`, such as `tiny`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch

from azrl.buffer import TaskBuffer
from azrl.config.schema import Config
from azrl.engine.base import Request
from azrl.evals.items import held_out
from azrl.models.corpus import executed, tasks_of
from azrl.models.load import load_model
from azrl.models.tiny import build_tiny
from azrl.models.warmstart import outputs_by
from azrl.rl.advantages import estimate
from azrl.rl.types import Sample
from azrl.runs.clock import PhaseClock
from azrl.seeding import derive
from azrl.selfplay.compose import build_policy, composed
from azrl.selfplay.credit import solver_earnings
from azrl.selfplay.loop import Parts, SelfPlay
from azrl.tasks.types import KINDS, Task

GROUP = 8
BATCHES = 4
WORKER = Path(__file__).parent / "rivals" / "trl_worker.py"
TRL = {
    "trl float32": {"weights": "float32", "bf16": False},
    "trl bfloat16": {"weights": "float32", "bf16": True},
    "trl bfloat16 weights": {"weights": "bfloat16", "bf16": True},
}
Contender = Callable[[int], tuple[int, int]]
"""Takes so many steps; returns (completions, their tokens)."""


def configure(model: Path, prompts: int, tokens: int) -> Config:
    practise = prompts // 2 - prompts // GROUP
    return Config.model_validate(
        {
            "model": {"name": str(model), "max_response_length": tokens},
            "executor": {"backend": "process", "workers": 1},
            "training": {"minibatches": 1, "learning_rate": 1e-6, "rl_algorithm": "GRPO"},
            # Proposals, practised and new tasks add up to prompts x GROUP completions.
            "selfplay": {"batch_size": prompts, "practise": practise, "max_new_tasks": prompts // 2},
        }
    )


def draw_tasks(parts: Parts, count: int) -> list[Task]:
    """Executed tasks of one to four statements, the kinds in turn; none of the frozen probe's programs."""

    def execute(jobs: Any) -> Any:
        return outputs_by(parts.executor)(jobs)

    drawn = executed(Random(0), (1, 2, 3, 4), execute, seen=set(held_out()), distinct=True)
    return [tasks_of(item)[KINDS[i % len(KINDS)]] for i, item in enumerate(islice(drawn, count))]


def of_solver(parts: Parts, tasks: list[Task], prompts: int) -> Contender:
    config, taken = parts.config, 0

    def step() -> tuple[int, int]:
        nonlocal taken
        first = taken % BATCHES * prompts
        batch, taken = tasks[first : first + prompts], taken + 1
        requests = [
            Request(
                parts.solver.prompt(task),
                config.model.max_response_length,
                GROUP,
                seed=derive(taken, task.id),
            )
            for task in batch
        ]
        groups = [group for future in parts.solver.attempt(batch, requests) for group in future.result()]
        earned = solver_earnings(groups, config.selfplay)
        advantages = estimate(
            config.training.rl_algorithm,
            [e.reward for e in earned],
            cells=[e.cell for e in earned],
            groups=[e.group for e in earned],
        )
        samples = [
            Sample(e.completion.prompt_ids, e.completion.token_ids, e.completion.logprobs, float(a), e.cell)
            for e, a in zip(earned, advantages, strict=True)
        ]
        parts.learner.update(samples, seed=taken)
        parts.sync({})
        made = [attempt.completion for group in groups for attempt in group.attempts]
        return len(made), sum(len(completion.token_ids) for completion in made)

    return lambda steps: total(step() for _ in range(steps))


def of_selfplay(parts: Parts) -> Contender:
    loop, taken = SelfPlay(parts), 0
    loop.seed()

    def step() -> tuple[int, int]:
        nonlocal taken
        taken += 1
        done = loop.step(taken)
        return round(done.sampled_tokens / done.signals["length"]), done.sampled_tokens

    return lambda steps: total(step() for _ in range(steps))


def total(made: Iterator[tuple[int, int]]) -> tuple[int, int]:
    completions, tokens = map(sum, zip(*made, strict=True))
    return completions, tokens


@contextmanager
def of_trl(
    python: Path, model: Path, tasks: list[Task], parts: Parts, args: Any, own: dict
) -> Iterator[Contender]:
    settings = {
        "use_cpu": True,
        "beta": 0.0,
        "gradient_checkpointing": False,
        "num_generations": GROUP,
        "per_device_train_batch_size": args.trl_rows,
        "gradient_accumulation_steps": args.prompts * GROUP // args.trl_rows,
        "max_completion_length": args.tokens,
        "learning_rate": parts.config.training.learning_rate,
        "shuffle_dataset": False,
        "max_steps": 10**6,
        "report_to": "none",
        "logging_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        **own,
    }
    texts = [parts.solver.prompt(task) for task in tasks]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in model.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "settings.json").write_text(json.dumps(settings))
        answers = [task.outputs[0] for task in tasks]
        (folder / "prompts.json").write_text(json.dumps({"prompt": texts, "answer": answers}))
        command = [str(python), str(WORKER), name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:

            def run(steps: int) -> tuple[int, int]:
                print(steps, file=worker.stdin, flush=True)
                line = worker.stdout.readline()
                if not line:
                    raise SystemExit("the TRL worker ended; its last words are above")
                made = json.loads(line)
                return made["completions"], made["tokens"]

            yield run
            worker.stdin.close()


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, of its live descendants, and of the children that any of them has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return own + sum(cpu_seconds(int(child)) for task in tasks for child in task.read_text().split())


CLOCKS = {"wall": time.perf_counter, "cpu": lambda: cpu_seconds(os.getpid())}


def measure(contenders: dict[str, Contender], rounds: int, steps: int) -> dict[str, Any]:
    speeds: dict[str, dict[str, list[float]]] = {clock: {name: [] for name in contenders} for clock in CLOCKS}
    counts = {name: [0, 0] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            starts = {clock: now() for clock, now in CLOCKS.items()}
            completions, tokens = run(BATCHES if turn == 0 else steps)
            spent = {clock: now() - starts[clock] for clock, now in CLOCKS.items()}
            if turn > 0:  # the first round warms up, every batch once
                counts[name] = [counts[name][0] + completions, counts[name][1] + tokens]
                for clock, seconds in spent.items():
                    speeds[clock][name].append(tokens / seconds)
    return {
        "completions_per_step": {name: round(c / rounds / steps, 1) for name, (c, _) in counts.items()},
        "tokens_per_completion": {name: round(t / c, 1) for name, (c, t) in counts.items()},
        **{clock: summary(by_name) for clock, by_name in speeds.items()},
    }


def summary(speeds: dict[str, list[float]]) -> dict[str, Any]:
    rivals = [s for name, s in speeds.items() if name in TRL]
    return {
        "tokens_per_second": {name: round(statistics.median(s)) for name, s in speeds.items()},
        "times_the_faster_trl": {
            name: round(statistics.median(map(ratio, s, *rivals)), 2)
            for name, s in speeds.items()
            if name not in TRL
        },
        "rounds": {name: [round(value) for value in s] for name, s in speeds.items()},
    }


def ratio(ours: float, *theirs: float) -> float:
    return ours / max(theirs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--trl-python", type=Path, required=True, help="interpreter of an environment with TRL"
    )
    parser.add_argument("--model", default="random", help="random, or a model.name such as tiny")
    parser.add_argument(
        "--prompts", type=int, default=32, help=f"prompts a step, {GROUP} completions of each"
    )
    parser.add_argument("--tokens", type=int, default=96, help="longest completion")
    parser.add_argument("--steps", type=int, default=1, help="optimizer steps a turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--trl-rows", type=int, default=256, help="completions TRL learns from at once")
    parser.add_argument("--trl", nargs="+", choices=TRL, default=list(TRL), help="its settings to run")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "selfplay_speed.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # workers and sandboxes inherit it
    found_versions = versions(args.trl_python)
    load_before = round(os.getloadavg()[0], 2)
    settings = {key: getattr(args, key) for key in ("prompts", "tokens", "steps", "trl_rows")}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model, tokenizer = build_tiny(0) if args.model == "random" else load_model(args.model)
        model.save_pretrained(scratch / "model")
        tokenizer.save_pretrained(scratch / "model")
        config = configure(scratch / "model", args.prompts, args.tokens)
        buffer = stack.enter_context(TaskBuffer(scratch / "buffer.sqlite"))
        parts = stack.enter_context(composed(config, build_policy(config), buffer, PhaseClock()))
        tasks = draw_tasks(parts, BATCHES * args.prompts)
        contenders = {"azrl": of_solver(parts, tasks, args.prompts)}
        if args.model != "random":
            contenders["azrl self-play"] = of_selfplay(parts)
        for name in args.trl:
            rival = of_trl(args.trl_python, scratch / "model", tasks, parts, args, TRL[name])
            contenders[name] = stack.enter_context(rival)
        measured = measure(contenders, args.rounds, args.steps)
    result = {
        "parameters": model.num_parameters(),
        "completions_per_prompt": GROUP,
        **settings,
        "versions": found_versions,
        "load_before": load_before,
        **measured,
    }
    for clock in CLOCKS:
        print(f"{args.model} model, {clock} time")
        for name, speed in result[clock]["tokens_per_second"].items():
            print(f"  {name:24s}{speed:8,d} tokens/s")
        for name, times in result[clock]["times_the_faster_trl"].items():
            print(f"  {name} is {times:.2f} times the faster TRL")
    known = json.loads(args.out.read_text()) if args.out.exists() else {}
    args.out.write_text(json.dumps(known | {args.model: result}, indent=1) + "\n")
    print(f"wrote {args.out}")


def versions(trl_python: Path) -> dict[str, str]:
    """What both sides run on; they must share torch and transformers, or speeds say nothing."""
    ask = "import importlib.metadata as m; print(*map(m.version, ('torch', 'transformers', 'trl')))"
    told = subprocess.run([str(trl_python), "-c", ask], capture_output=True, text=True, check=True).stdout
    torch_version, transformers_version, trl_version = told.split()
    ours = version("torch"), version("transformers")
    if ours != (torch_version, transformers_version):
        raise SystemExit(f"torch and transformers differ: {ours} here, {told.split()[:2]} beside TRL")
    return {"torch": ours[0], "transformers": ours[1], "trl": trl_version}


if __name__ == "__main__":
    main()
