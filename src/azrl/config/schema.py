"""Every setting there is: one model a section, the meaning under each field; `training` has a file of its own.
Nothing here imports torch."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from azrl.config.executor import ExecutorSection
from azrl.config.monitors import Monitors
from azrl.config.section import Section
from azrl.config.training import Training

KindName = Literal["abduction", "deduction", "induction"]


class Run(Section):
    name: str | None = None
    """Folder under `paths.runs`; null makes one from the preset and the time. A used name is an error."""
    iterations: PositiveInt = 100
    """Absolute target: a run resumed at step 40 with 100 does 60 more."""
    time_limit_s: PositiveFloat | None = None
    """Stop after this many seconds of training, with a checkpoint; null means no limit."""
    seed: NonNegativeInt = 42
    """Every random draw is a function of this seed, the step and a purpose."""
    heartbeat_s: PositiveFloat = 30.0
    """Seconds between heartbeat lines with phase and ETA."""
    stall_s: PositiveFloat = 600.0
    """A phase that lasts longer than this is reported as stalled."""
    checkpoint_interval: PositiveInt = 50
    """Steps between checkpoints; one is always written at the end and on SIGINT or SIGTERM."""
    keep_checkpoints: PositiveInt = 3
    """Newest checkpoints kept; older ones are removed."""


class Model(Section):
    name: str = "tiny"
    """`tiny` (shipped), a local folder, or a Hugging Face hub id."""
    template: Literal["auto", "compact", "think"] = "auto"
    """Prompt format: `compact` for the tiny model, `think` (<think>/<answer>) for language models. Both are plain
    text: a model's chat template is neither needed nor used."""
    max_prompt_length: PositiveInt = 384
    """Prompt tokens. References are dropped until a proposer's prompt fits; a task whose question does not fit is
    refused (`gate/too_large`)."""
    max_response_length: PositiveInt = 96
    """Response tokens."""


class VllmSection(Section):
    server: str | None = None
    """Address of a running server (utils/serve_vllm.py), such as http://127.0.0.1:8000; null: in this process."""
    memory_share: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Share of the GPU's memory for vLLM, its weights included."""
    cache_gb: PositiveFloat = 1.0
    """Key-value cache on a CPU, in GiB."""
    sleep: bool = True
    """In this process on a GPU: give the memory back while the learner updates."""
    exchange: str = "/dev/shm"
    """Server: a folder that it and this process see, through which weights go."""
    timeout_s: PositiveFloat = 600.0
    """Server: longest wait for one answer."""

    @field_validator("server")
    @classmethod
    def _address(cls, server: str | None) -> str | None:
        if server is not None and not re.fullmatch(r"https?://[^/:]+:\d+/?", server):
            raise ValueError("want an address such as http://127.0.0.1:8000")
        return server


class EngineSection(Section):
    backend: Literal["torch", "vllm", "scripted"] = "torch"
    """`torch`: the embedded engine; `vllm`: see docs/engines.md; `scripted`: a deterministic stand-in for tests."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model samples and trains; auto takes the first GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Decode precision; auto takes bfloat16 on a GPU, and where the CPU has it."""
    threads: PositiveInt = 1
    """OpenMP threads, for generation and update alike."""
    batch_rows: PositiveInt = 128
    """Rows decoded together."""
    temperature: float = Field(default=1.0, ge=0.01)
    """Sampling temperature of rollouts; the learner trains that very distribution."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Nucleus mass of rollouts. Below 1 the learner's probabilities are not those that rollouts are drawn with."""
    sync_tolerance: PositiveFloat | None = None
    """Largest log-probability difference between engine and learner after a sync before the run stops, in nats for the
    worst token, relative beyond one nat (the mean must be a tenth of it); null means 1e-4 in float32 and 0.5 in
    bfloat16."""
    mismatch_limit: PositiveFloat = 0.1
    """Largest mean KL (k3 estimate, nats a token) between what sampled a step's rollouts and what trains on them
    before the run stops."""
    vllm: VllmSection = VllmSection()

    @field_validator("temperature")
    @classmethod
    def _as_reported(cls, temperature: float, info: ValidationInfo) -> float:
        if temperature != 1 and info.data.get("backend") == "vllm":
            raise ValueError(
                "must be 1 with backend: vllm, which reports log-probabilities at temperature 1 alone"
            )
        return temperature


class Tasks(Section):
    kinds: tuple[KindName, ...] = ("abduction", "deduction", "induction")
    """Which of the three are proposed and practised, each named once."""
    bins: PositiveInt = 4
    """Difficulty bins that proposals are asked for: 1 to this many top-level statements."""
    max_program_chars: PositiveInt = 2000
    """Longer programs are refused."""
    max_value_chars: PositiveInt = 400
    """Longer inputs or outputs are refused."""
    induction_pairs: int = Field(default=6, ge=2)
    """Input/output pairs of an induction task; half are shown."""
    forbidden_modules: tuple[str, ...] = (
        "os", "sys", "subprocess", "socket", "random", "time", "datetime", "threading", "multiprocessing",
        "logging", "hashlib", "secrets", "uuid", "shutil", "pathlib", "io", "ctypes", "importlib", "builtins",
        "inspect", "gc", "asyncio", "signal", "pickle", "tempfile", "urllib", "http", "requests",
    )  # fmt: skip
    """Modules that a program may not import (quality and determinism; the sandbox is the protection)."""
    check_variants: int = Field(default=2, ge=2, le=4)
    """Fresh interpreters with different hash seeds that must agree."""

    @property
    def arms(self) -> tuple[str, ...]:
        """What the curriculum chooses among: every kind at every difficulty, such as `deduction:2`."""
        return tuple(f"{kind}:{size}" for kind in self.kinds for size in range(1, self.bins + 1))

    @field_validator("kinds")
    @classmethod
    def _each_once(cls, kinds: tuple[KindName, ...]) -> tuple[KindName, ...]:
        if not kinds or len(set(kinds)) < len(kinds):
            raise ValueError("want at least one kind, each named once")
        return kinds


class FormatPenalty(Section):
    formatted_wrong: float = -0.5
    """Solver reward for a well-formed wrong answer."""
    format_error: float = -1.0
    """Reward for a malformed answer or a refused proposal."""


class Overlong(Section):
    filter: bool = False
    """Leave completions that were cut off at `model.max_response_length` out of the loss; their rewards still count
    in baselines (DAPO's overlong filtering)."""
    share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Soft punishment: over this last share of `model.max_response_length` a completion's reward falls with its
    length, at the end by `penalty` (DAPO: 0.2). 0: none."""
    penalty: PositiveFloat = 1.0


class Selfplay(Section):
    batch_size: PositiveInt = 48
    """Proposals a step, over all kinds."""
    k_references: NonNegativeInt = 2
    """Reference programs shown to the proposer."""
    composites: NonNegativeInt = 0
    """Drafts a step, besides the proposals, that join two of the buffer's programs into a longer one (Absolute Zero's
    composite functions): bins that the proposer does not reach by itself get tasks to practise."""
    spec: bool = True
    """Ask the proposer for a difficulty bin. Without references and spec a proposer collapses."""
    n_samples: int = Field(default=8, ge=2)
    """Solver rollouts a task; they measure learnability and, with `reuse`, are the training group."""
    solver_rollouts: Literal["reuse", "fresh"] = "reuse"
    """`reuse` trains on the rollouts that measured learnability; `fresh` draws one new one a task (AZR)."""
    practise: NonNegativeInt = 16
    """Buffer tasks practised a step, besides the newly admitted ones."""
    practise_first: bool = False
    """Update on the practised tasks while the sandbox judges the attempts at new ones: two updates a step, each with
    statistics of its own. Hardly anything waits for the sandbox then. Needs `solver_rollouts: reuse`."""
    max_new_tasks: PositiveInt = 32
    """Most newly admitted tasks solved in the step that admits them; the rest wait in the buffer."""
    seed_batch_factor: NonNegativeInt = 4
    """Buffer seeds made before step 1 by the model itself: this many times batch_size proposals."""
    boundary_reward: float = 0.0
    """Proposer reward when every or no rollout is right: 0.0 (AZR paper) or -0.5 (AZR code)."""
    proposer_weight: NonNegativeFloat = 1.0
    """What the proposer's advantages are multiplied by; 0 trains the solver alone (AZR: train_propose=False)."""
    proposer_reward: Literal["one_minus", "variance", "frontier"] = "one_minus"
    """Between the boundaries: 1 - p (AZR), 4p(1-p), or `frontier`: the most for a task of the size asked for that is
    solved as often as `target_solve_rate` says (docs/selfplay.md)."""
    target_solve_rate: float = Field(default=0.5, gt=0.0, lt=1.0)
    """`frontier`: the solve rate asked for, at which the reward is 1; it falls evenly to 0 at both boundaries."""
    spec_keep: float = Field(default=0.5, ge=0.0, le=1.0)
    """`frontier`: the share of the reward that each statement more or fewer than asked for leaves; 1 ignores the
    spec, 0 pays only when it is met."""
    spec_bonus: NonNegativeFloat = 0.0
    """Added to an admitted proposal that meets its spec, subtracted from one that does not."""
    novelty_weight: NonNegativeFloat = 0.0
    """Penalty share for programs seen before: reward / (1 + this x tasks of the buffer with that program)."""
    format_penalty: FormatPenalty = FormatPenalty()
    overlong: Overlong = Overlong()
    filter_groups: bool = False
    """Leave the attempts at a task out of the update where all of them earned the same: they compare with nothing
    (DAPO's dynamic filtering). Buffer and curriculum still learn of them. Needs `solver_rollouts: reuse`."""
    refill_rounds: NonNegativeInt = 0
    """With `filter_groups`: up to so many times a step, attempt as many more buffer tasks as were left out."""
    shuffle_rewards: bool = False
    """Control experiment: permute rewards within each (kind, role), so nothing can be learned from them."""

    @field_validator("practise_first", "filter_groups")
    @classmethod
    def _reusing(cls, on: bool, info: ValidationInfo) -> bool:
        if on and info.data.get("solver_rollouts") == "fresh":
            raise ValueError("needs solver_rollouts: reuse")
        return on

    @field_validator("refill_rounds")
    @classmethod
    def _filtering(cls, rounds: int, info: ValidationInfo) -> int:
        if rounds and not info.data.get("filter_groups", True):
            raise ValueError("needs filter_groups: true")
        return rounds


class Buffer(Section):
    max_buffer_size: PositiveInt = 16384
    """Tasks kept; the lowest weights are evicted, with quotas a kind."""
    decay: float = Field(default=0.8, gt=0.0, le=1.0)
    """What a task's old evidence is multiplied by at each visit."""
    novelty: NonNegativeFloat = 0.5
    """Exponent of 1/(1+visits) in the sampling weight."""
    freshness_steps: PositiveFloat = 200.0
    """Steps in which an unvisited task's weight halves."""


class Curriculum(Section):
    name: Literal[
        "uniform",
        "proportional",
        "staged",
        "dump",
        "sec",
        "learnability",
        "plr",
        "tscl",
        "adarft",
        "frontier",
        "zrc",
    ] = "uniform"
    """Who chooses arms (task kind x difficulty bin); docs/curricula.md says what each is for."""
    options: dict[str, Any] = Field(default={})
    """The algorithm's own settings, such as `temperature: 0.1` for dump; none keeps its defaults. Arms in them are
    written `deduction:2`."""
    embedding: Literal["tokens", "none"] = "tokens"
    """`zrc`: what a stored task is taken to be about when the tasks are clustered: `tokens`, the mean of the starting
    model's token embeddings over its text; `none`, nothing: difficulty alone makes the clusters."""


class Probe(Section):
    interval: NonNegativeInt = 0
    """Steps between probes during a run; 0 probes at the start and the end only."""
    items: PositiveInt = 1000
    """Frozen items a kind (the first so many of each bin, in equal parts)."""
    samples: NonNegativeInt = 8
    """Sampled answers an item, for sampled pass@1 and pass@k; 0 measures greedy alone."""
    at_start: bool = True
    at_end: bool = True


class Logging(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    rollouts_every: PositiveInt = 1
    """Steps between rollout files."""
    rollouts_per_step: PositiveInt = 12
    """Half as many proposals are written in such a step, and every attempt at a sixth as many tasks, at least one
    of each kind."""
    use_tensorboard: bool = False
    use_wandb: bool = False
    use_trackio: bool = False
    wandb_project: str = "azrl"


class Paths(Section):
    runs: str = "runs"
    """Where run folders are made."""


class Config(Section):
    """The whole configuration of a run."""

    run: Run = Run()
    model: Model = Model()
    engine: EngineSection = EngineSection()
    executor: ExecutorSection = ExecutorSection()
    tasks: Tasks = Tasks()
    selfplay: Selfplay = Selfplay()
    training: Training = Training()
    buffer: Buffer = Buffer()
    curriculum: Curriculum = Curriculum()
    probe: Probe = Probe()
    monitors: Monitors = Monitors()
    logging: Logging = Logging()
    paths: Paths = Paths()
