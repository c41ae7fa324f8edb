"""How much memory a run takes: arithmetic on the model's shape and the configuration, before anything is loaded.

What is held all the time (weights, optimizer, the engine's copy) and the larger of two phases: generating (cache,
logits of the sampler) and updating (gradients, what a forward pass keeps for the backward one, logits). Sums over
tensors that exist at the peak, not upper bounds: tests compare them with the allocator's own count, and a run that
meets its token budget comes within 15 % of it. On a GPU, reserved but unused blocks of the allocator come on top.
Bytes; 1 GiB = 2**30.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from azrl.config.schema import Config
from azrl.shape import Shape

GIB = 2**30
FLOAT32 = 4
PROCESS = {"cpu": int(0.35 * GIB), "cuda": int(0.55 * GIB)}
"""Python with torch and transformers (resident, measured), or a CUDA context with its libraries (as commonly seen)."""
LOGIT_COPIES = 3
"""float32 arrays of [tokens, vocabulary] that are alive at once, in the loss (log-probabilities, their gradient, and
that of the logits) as in the sampler (logits, probabilities, running sum)."""
EXPLICIT_POSITIONS = 1024
"""Rows up to this length keep their attention scores on a CPU in bfloat16 (`models.forward`)."""
PREFILL_CELLS = 2048
"""Positions of prompts that the torch engine reads at once, one prompt at least (`engine.network`)."""
ACCURACY = 0.15
"""How far a measured peak may lie from the estimate."""


@dataclass(frozen=True, slots=True)
class Part:
    """One use of memory: what, how many bytes, in which phase (`always`, `generate`, `update`, `sync`), and why."""

    name: str
    size: int
    phase: str
    why: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """All parts; the peak is what is always there plus the largest phase."""

    parts: tuple[Part, ...]

    def of(self, phase: str) -> int:
        """Bytes of one phase alone."""
        return sum(part.size for part in self.parts if part.phase == phase)

    @property
    def peak_phase(self) -> str:
        """The phase in which most memory is in use."""
        return max(("generate", "update", "sync"), key=self.of)

    @property
    def peak(self) -> int:
        """Bytes at the worst moment of a step."""
        return self.of("always") + self.of(self.peak_phase)

    def fits(self, room: int) -> str:
        """`fits`, `tight` (`room` bytes lie within the estimate's accuracy: it may run out) or `too large`."""
        if self.peak * (1 + ACCURACY) <= room:
            return "fits"
        return "tight" if self.peak <= room * (1 + ACCURACY) else "too large"


@dataclass(frozen=True, slots=True)
class Pass:
    """One micro-batch of the learner: padded `positions` in rows of `width`, `predicted` completion tokens, matrices
    and activations in `size` bytes a number. `kept_scores`: attention scores are kept for the backward pass.
    `more`: other micro-batches come before it, so that gradients are there already."""

    positions: int
    predicted: int
    width: int
    size: int
    kept_scores: bool = False
    more: bool = True


def estimate(config: Config, shape: Shape, device: str, size: int) -> Estimate:
    """Memory of a run on `device` (`cpu` or `cuda`) whose matrices multiply in numbers of `size` bytes."""
    n = shape.parameters
    parts = [
        Part("process", PROCESS[device], "always", "Python and torch" if device == "cpu" else "CUDA context"),
        Part("weights", FLOAT32 * n, "always", f"{_count(n)} parameters in float32"),
        Part("optimizer", 2 * FLOAT32 * n, "always", "two float32 moments a parameter"),
    ]
    if config.training.use_kl:
        parts.append(Part("reference", FLOAT32 * n, "always", "the starting model, for the KL penalty"))
    parts += [*_engine(config, shape, size), *update(shape, biggest_pass(config, device, size))]
    return Estimate(tuple(parts))


def update(shape: Shape, work: Pass) -> Iterator[Part]:
    """What one forward and backward pass of the learner holds besides weights and moments, at its worst moment:
    between the two, or at the end of the backward pass, when all gradients are there."""
    held = kept(shape, work)
    logits = LOGIT_COPIES * FLOAT32 * shape.vocab * work.predicted
    casts = cast_weights(shape, work.size)
    gradients = FLOAT32 * shape.parameters
    if not work.more and gradients + FLOAT32 * shape.head > held + logits + casts:
        yield Part("gradients", gradients + FLOAT32 * shape.head, "update", "at the end of the backward pass")
        return
    if work.more:
        yield Part("gradients", gradients, "update", "float32, from the second micro-batch on")
    yield Part("activations", held, "update", f"{work.positions:,} positions in {work.size}-byte numbers")
    yield Part("logits", logits, "update", f"{LOGIT_COPIES} x {work.predicted:,} tokens x {shape.vocab:,}")
    yield Part("cast weights", casts, "update", "matrices as the pass multiplies by them")


def kept(shape: Shape, work: Pass) -> int:
    """Bytes that the forward pass of `models.forward` keeps for the backward pass.

    A layer keeps, for each position: the residual stream twice in float32; the two normed inputs; queries, keys and
    values before and after the rotation, attention's output and its log-sum; the MLP's gate, activated gate, up
    and product. Where scores are explicit: copies of queries, keys and values, the mixed values and one score for
    each head and position of the row. Behind the last attention only predicted positions go on."""
    size = work.size
    attention = FLOAT32 * shape.hidden + size * shape.hidden
    if work.kept_scores:
        attention += size * (2 * shape.queries + 2 * shape.keys + shape.heads * work.width)
    else:
        attention += size * (3 * shape.queries + 3 * shape.keys) + FLOAT32 * shape.heads
    mlp = FLOAT32 * shape.hidden + size * (shape.hidden + 4 * shape.intermediate)
    through = (shape.layers - 1) * work.positions + work.predicted
    return shape.layers * work.positions * attention + through * mlp


def cast_weights(shape: Shape, size: int) -> int:
    """Bytes of the matrices that a pass makes of the weights: folded with a norm or cast, and kept until the
    backward pass has used them. Query, key and value are kept joined in float32 as well."""
    layer = (FLOAT32 + size) * shape.qkv + 2 * size * shape.mlp
    if size != FLOAT32:
        layer += size * (shape.out + shape.mlp)
    return shape.layers * layer + size * shape.head


def biggest_pass(config: Config, device: str, size: int) -> Pass:
    """The micro-batch that fills the token budget with answers of full length.

    A row is a prompt and one answer: `training.micro_batch_tokens` holds so many of them, one at least, and a step
    has no more than it has samples. An answer's prompt is taken to be a solver's: one program where a proposer's
    prompt of `model.max_prompt_length` holds `selfplay.k_references` and its own instructions."""
    settings, training = config.selfplay, config.training
    answer = config.model.max_response_length
    prompt = config.model.max_prompt_length // (settings.k_references + 1)
    width = prompt + answer
    tasks = settings.practise + settings.max_new_tasks
    each = settings.n_samples if settings.solver_rollouts == "reuse" else 1
    samples = max(1, (settings.batch_size + tasks * each) // training.minibatches)
    rows = max(1, training.micro_batch_tokens // width)
    return Pass(
        positions=min(rows, samples) * width,
        predicted=min(rows, samples) * answer,
        width=width,
        size=size,
        kept_scores=device == "cpu" and size != FLOAT32 and width <= EXPLICIT_POSITIONS,
        more=samples > rows,
    )


def _engine(config: Config, shape: Shape, size: int) -> Iterator[Part]:
    """The torch engine: a copy of the weights (two while a new one is made), the cache in float32, the sampler."""
    embedding = FLOAT32 * shape.head
    copy = embedding + size * shape.matrices
    yield Part("engine's copy", copy, "always", f"matrices in {size}-byte numbers, embedding in float32")
    yield Part("new copy", copy + 2 * embedding, "sync", "made before the old one goes; the head in float32")
    rows, prompt = config.engine.batch_rows, config.model.max_prompt_length
    length = prompt + config.model.max_response_length
    cache = 2 * FLOAT32 * shape.layers * rows * shape.keys * length
    yield Part("KV cache", cache, "generate", f"{rows} rows x {length:,} positions in float32")
    sampler = LOGIT_COPIES * FLOAT32 * rows * shape.vocab
    read = min(rows, max(1, PREFILL_CELLS // prompt)) * prompt
    # joined, rotated, spread over a grid, mixed; and a mask a prompt
    a_cell = shape.hidden + 7 * shape.queries + 5 * shape.keys + prompt
    yield Part("sampler", sampler, "generate", f"{LOGIT_COPIES} x {rows} rows x {shape.vocab:,}")
    yield Part("prefill", read * FLOAT32 * a_cell, "generate", f"{read:,} positions of prompts read at once")


def _count(n: int) -> str:
    return f"{n / 1e9:.2f} billion" if n >= 1e9 else f"{n / 1e6:.2f} million"
