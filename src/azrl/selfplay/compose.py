"""Builds the loop's parts from the configuration: the one place where all floors meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from azrl.buffer import TaskBuffer
from azrl.config.schema import Config
from azrl.curriculum import CurriculumSampler, build_curriculum
from azrl.curriculum.zrc import PRESETS, Settings, mean_token_embedding
from azrl.engine.base import Engine
from azrl.errors import UserError
from azrl.evals.items import held_out, load_probe
from azrl.executor import Executor, Limits, open_executor
from azrl.preflight import LARGEST_TOY, container_options
from azrl.rl.baseline import CellBaseline
from azrl.rl.types import Learner
from azrl.selfplay.clusters import ByCluster
from azrl.selfplay.composer import Composer
from azrl.selfplay.loop import Clock, Parts
from azrl.selfplay.practice import ByArm, Practice
from azrl.selfplay.proposer import Proposer
from azrl.selfplay.solver import Solver
from azrl.selfplay.sync import Sync
from azrl.tasks.gate import Gate, GateLimits
from azrl.tasks.prompts import build_template
from azrl.tasks.prompts.base import Template
from azrl.tasks.types import Kind

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from azrl.rl.ranks import Ranks

_SYNC_PROBES, _SYNC_TOKENS = 9, 24
_CONNECTIONS = 256  # to a vLLM server at once
_CLUSTER_SIZE = 8  # tasks of the buffer that a cluster has at least: fewer are practised up in one step


@dataclass(frozen=True)
class Policy:
    """The model in its three forms: what samples, what trains, and how prompts are written and measured."""

    engine: Engine
    learner: Learner
    template: Template
    encode: Callable[[str], list[int]]
    sync_tolerance: float
    serves_real_model: bool
    failures: Path | None
    embed: Callable[[str], NDArray[np.float64]] | None = None
    """What a text is about, by the model's own token embeddings as they were before any training; None where the
    curriculum asks for none."""


def build_policy(config: Config, failures: Path | None = None, ranks: Ranks | None = None) -> Policy:
    """Engine, learner and template for `engine.backend`. `failures`: where a batch would be saved that cannot be
    learned from, and both models when they disagree; `ranks`: the processes that share the learner, this one being the
    first."""
    if config.engine.backend == "scripted":
        return _scripted(config, failures)
    return _learning(config, failures, ranks)


def _scripted(config: Config, failures: Path | None) -> Policy:
    from azrl.selfplay.scripted import encode, scripted_policy, token_vectors

    engine, learner = scripted_policy()
    embed = mean_token_embedding(encode, token_vectors()) if _embeds(config) else None
    return Policy(engine, learner, _template(config, "compact"), encode, 1e-9, False, failures, embed)


def build_learner(config: Config, *, ranks: Ranks) -> Learner:
    """The learner alone, for a process that follows the first one."""
    model, tokenizer, dtype = _model(config)
    return _learner(config, model, tokenizer.pad_token_id, dtype, None, ranks)


def placed(config: Config) -> tuple[str, torch.dtype]:
    """The device and the precision of matrix products that `engine.*` come to here."""
    import torch

    from azrl.engine.weights import auto_dtype

    cuda = torch.cuda.is_available()
    if config.engine.device == "cuda" and not cuda:
        raise UserError("engine.device=cuda: torch finds no GPU here; python main.py doctor says more")
    device = "cuda" if cuda and config.engine.device != "cpu" else "cpu"
    auto = torch.bfloat16 if device == "cuda" else auto_dtype()
    return device, auto if config.engine.dtype == "auto" else getattr(torch, config.engine.dtype)


def _model(config: Config) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, torch.dtype]:
    """The model where it is trained, its tokenizer, and the precision of matrix products."""
    import torch

    from azrl.models.load import load_model

    torch.set_num_threads(config.engine.threads)
    device, dtype = placed(config)
    model, tokenizer = load_model(config.model.name)
    torch.nn.Module.to(model, device)
    return model, tokenizer, dtype


def _learner(
    config: Config,
    model: PreTrainedModel,
    pad_id: int,
    dtype: torch.dtype,
    failures: Path | None,
    ranks: Ranks | None,
) -> Learner:
    from azrl.rl.follow import Leader
    from azrl.rl.learner import TorchLearner
    from azrl.rl.ppo import PPOLearner
    from azrl.rl.ranks import ALONE

    together = ranks or ALONE
    build = PPOLearner if config.training.rl_algorithm == "PPO" else TorchLearner
    learner = build(
        model,
        config.training,
        pad_id=pad_id,
        dtype=dtype,
        on_failure=failures,
        temperature=config.engine.temperature,
        seed=config.run.seed,
        ranks=together,
    )
    return Leader(learner, together) if together.size > 1 and together.rank == 0 else learner


def _learning(config: Config, failures: Path | None, ranks: Ranks | None) -> Policy:
    import torch

    from azrl.models.load import template_name

    model, tokenizer, dtype = _model(config)
    name = template_name(tokenizer) if config.model.template == "auto" else config.model.template
    engine = (_vllm if config.engine.backend == "vllm" else _torch)(config, model, tokenizer, dtype)
    real = name == "think" or model.num_parameters() > LARGEST_TOY  # whatever template it was given
    embed = None
    if _embeds(config):  # before a checkpoint is loaded: a resumed run must embed as it did at its start
        vectors = cast("torch.Tensor", model.get_input_embeddings().weight)
        embed = mean_token_embedding(tokenizer.encode, vectors.detach().float().cpu().numpy())
    learner = _learner(config, model, tokenizer.pad_token_id, dtype, failures, ranks)
    tolerance = config.engine.sync_tolerance or (0.5 if dtype is torch.bfloat16 else 1e-4)
    return Policy(
        engine, learner, _template(config, name), tokenizer.encode, tolerance, real, failures, embed
    )


def _torch(config: Config, model: Any, tokenizer: Any, dtype: torch.dtype) -> Engine:
    from azrl.engine.torch_engine import TorchEngine

    try:
        return TorchEngine(
            model,
            tokenizer,
            dtype=dtype,
            batch_rows=config.engine.batch_rows,
            max_prompt_length=config.model.max_prompt_length,
        )
    except ValueError as error:
        raise UserError(
            f"model.name: {config.model.name!r} does not run on the torch engine: {error}"
        ) from error


def _vllm(config: Config, model: Any, tokenizer: Any, dtype: torch.dtype) -> Engine:
    from azrl.engine.vllm.engine import Host, VllmEngine
    from azrl.engine.vllm.local import LocalHost
    from azrl.engine.vllm.server import ServerHost
    from azrl.models.load import located

    settings, rows = config.engine.vllm, config.engine.batch_rows
    host: Host
    if settings.server is not None:
        host = ServerHost(
            settings.server,
            exchange=settings.exchange,
            connections=min(rows, _CONNECTIONS),
            timeout_s=settings.timeout_s,
        )
    else:
        host = LocalHost(
            model=located(config.model.name)[0],
            dtype=str(dtype).removeprefix("torch."),
            batch_rows=rows,
            longest=config.model.max_prompt_length + config.model.max_response_length,
            cache_gb=settings.cache_gb,
            memory_share=settings.memory_share,
            sleeps=settings.sleep,
        )
    engine = VllmEngine(host, tokenizer, max_prompt_length=config.model.max_prompt_length)
    engine.sync(dict(model.named_parameters()))
    return engine


def _embeds(config: Config) -> bool:
    return config.curriculum.name == "zrc" and config.curriculum.embedding == "tokens"


def _template(config: Config, name: str) -> Template:
    return build_template(
        name, forbidden_modules=config.tasks.forbidden_modules, pairs=config.tasks.induction_pairs
    )


def job_limits(config: Config) -> Limits:
    """The executor's limits a job."""
    return Limits(
        cpu_s=config.executor.timeout,
        memory_mb=config.executor.memory_mb,
        output_chars=config.executor.output_chars,
    )


def open_configured_executor(config: Config, *, serves_real_model: bool) -> Executor:
    """The executor that `executor.*` asks for, started and self-checked."""
    return open_executor(
        config.executor.backend,
        workers=config.executor.workers,
        canary_every=config.executor.canary_every,
        recycle_after=config.executor.recycle_after,
        cache_entries=config.executor.cache_entries,
        minimum_layers=config.executor.minimum_layers,
        container=container_options(config),
        serves_real_model=serves_real_model,
        allow_unsafe_mock=config.executor.allow_unsafe_mock,
    )


@contextmanager
def composed(config: Config, policy: Policy, buffer: TaskBuffer, clock: Clock) -> Iterator[Parts]:
    """All parts of a run, started; they stop when the block ends."""
    with ExitStack() as stack:
        executor = stack.enter_context(
            open_configured_executor(config, serves_real_model=policy.serves_real_model)
        )
        pool = stack.enter_context(ThreadPoolExecutor(8, thread_name_prefix="judge"))
        stack.callback(policy.engine.close)
        limits = job_limits(config)
        curriculum = build_curriculum(
            config.curriculum.name, arms=config.tasks.arms, **config.curriculum.options
        )

        sampler = CurriculumSampler(curriculum, config.run.seed)

        def fits(prompt: str) -> bool:
            return len(policy.encode(prompt)) <= config.model.max_prompt_length

        yield Parts(
            config=config,
            engine=policy.engine,
            learner=policy.learner,
            sync=Sync(
                policy.engine,
                policy.learner,
                _sync_probes(policy),
                policy.sync_tolerance,
                config.engine.mismatch_limit,
                policy.failures,
            ),
            executor=executor,
            limits=limits,
            buffer=buffer,
            gate=Gate(
                GateLimits(
                    max_program_chars=config.tasks.max_program_chars,
                    max_value_chars=config.tasks.max_value_chars,
                    variants=config.tasks.check_variants,
                    pairs=config.tasks.induction_pairs,
                    forbidden_modules=config.tasks.forbidden_modules,
                ),
                held_out(),
            ),
            fits=fits,
            proposer=Proposer(config, policy.template, buffer, fits),
            composer=Composer(buffer, config.run.seed),
            solver=Solver(policy.template, policy.engine, executor, limits, pool, held_out()),
            curriculum=curriculum,
            sampler=sampler,
            practice=_practice(config, policy, buffer, sampler),
            baseline=CellBaseline(config.training.cell_prior),
            pool=pool,
            clock=clock,
        )


def _practice(config: Config, policy: Policy, buffer: TaskBuffer, sampler: CurriculumSampler) -> Practice:
    """By arm, or with `zrc` by clusters of the buffer's tasks."""
    by_arm = ByArm(buffer, sampler, config.run.seed)
    if config.curriculum.name != "zrc":
        return by_arm
    options = config.curriculum.options
    preset = PRESETS[options.get("preset", "default")].to_dict() | {"min_size": _CLUSTER_SIZE}
    settings = Settings.from_dict(preset | options.get("settings", {}))
    return ByCluster(buffer, settings, policy.embed, config.run.seed, by_arm)


def _sync_probes(policy: Policy) -> list[tuple[Sequence[int], Sequence[int]]]:
    """Texts on which engine and learner must agree: the ends of frozen prompts with their answers, the second half
    of each after the first. They are equally long and begin differently, so that one pass reads them all."""
    probes: dict[Sequence[int], Sequence[int]] = {}
    half = _SYNC_TOKENS // 2
    for task in load_probe():
        answer = {
            Kind.DEDUCTION: task.outputs[0],
            Kind.ABDUCTION: task.inputs[0],
            Kind.INDUCTION: task.program,
        }
        text = policy.encode(policy.template.solve(task) + answer[task.kind])[-_SYNC_TOKENS:]
        if len(text) == _SYNC_TOKENS:
            probes.setdefault(tuple(text[:half]), text[half:])
        if len(probes) == _SYNC_PROBES:
            break
    return list(probes.items())
