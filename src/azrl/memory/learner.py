"""What the learner holds: weights and their optimizer, and a forward and backward pass at its worst moment.

A model's own numbers (weights, gradients, moments) are exact. Activations are counted tensor by tensor as autograd
keeps them: along the lean forward pass of `models.forward`, or through transformers' own module (adapters, several
processes, other architectures), where each matrix keeps an input of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from azrl.config.schema import Training
from azrl.memory.parts import FLOAT32, LOGIT_COPIES, Part, count
from azrl.shape import Shape

MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Pass:
    """One micro-batch: `positions`, padding included, in rows of `width`, `predicted` completion tokens, matrices and
    activations in `size` bytes a number. `scores`: attention scores are kept for the backward pass. `masked`: rows
    are shared, so that attention has a mask of their own. `flash`: packed rows go through the GPU's flash kernel, which
    wants keys and values for every query head. `more`: other micro-batches come before it, so that
    gradients are there already. `processes` share the weights."""

    positions: int
    predicted: int
    width: int
    size: int
    scores: bool = False
    masked: bool = False
    flash: bool = False
    more: bool = True
    processes: int = 1


def adapters(shape: Shape, training: Training) -> int:
    """Parameters of the LoRA adapters: rank x (inputs + outputs) of each matrix that has one. 0 without LoRA."""
    widths = {
        "q_proj": (shape.hidden, shape.queries),
        "k_proj": (shape.hidden, shape.keys),
        "v_proj": (shape.hidden, shape.keys),
        "o_proj": (shape.queries, shape.hidden),
        "gate_proj": (shape.hidden, shape.intermediate),
        "up_proj": (shape.hidden, shape.intermediate),
        "down_proj": (shape.intermediate, shape.hidden),
    }
    targets = training.lora_targets
    named = [sum(widths[name]) for name in MATRICES if name in targets or targets == ("all-linear",)]
    return training.lora_rank * shape.layers * sum(named)


def held(shape: Shape, training: Training, processes: int) -> Iterator[Part]:
    """Weights and moments, all the time; of several processes each has its share."""
    number = FLOAT32 if training.weights_dtype == "float32" else 2
    shared = f", in {processes} processes" if processes > 1 else ""
    n, trained = shape.parameters, adapters(shape, training)
    weights = number * n // processes
    yield Part("weights", weights, "always", f"{count(n)} parameters in {training.weights_dtype}{shared}")
    if trained:
        yield Part(
            "adapters", FLOAT32 * trained // processes, "always", f"{count(trained)} parameters in float32"
        )
    if not training.optimizer_offload:
        moments = 2 * FLOAT32 * (trained or n) // processes
        yield Part("optimizer", moments, "always", f"two float32 moments a trained parameter{shared}")
    if training.use_kl and not trained:
        yield Part("reference", weights, "always", "the starting model, for the KL penalty")


def update(shape: Shape, training: Training, work: Pass, *, lean: bool) -> Iterator[Part]:
    """What a forward and backward pass holds besides weights and moments, at its worst moment: between the two, or at
    the end of the backward pass, when all gradients are there. `lean`: it goes by `models.forward`."""
    number = FLOAT32 if training.weights_dtype == "float32" else 2
    trained = adapters(shape, training)
    gradients = (FLOAT32 * trained if trained else number * shape.parameters) // work.processes
    kept = _kept(shape, training, work, lean=lean)
    casts = _casts(shape, training, work, lean=lean)
    logits, why = _logits(shape, training, work)
    embedding = 0 if trained else number * shape.head
    if not work.more and gradients + embedding > kept + logits + casts:
        yield Part("gradients", gradients + embedding, "update", "at the end of the backward pass")
        return
    if work.more:
        yield Part("gradients", gradients, "update", "from the second micro-batch on")
    how = ", computed again block by block" if training.gradient_checkpointing else ""
    yield Part(
        "activations", kept, "update", f"{work.positions:,} positions in {work.size}-byte numbers{how}"
    )
    yield Part("logits", logits, "update", why)
    if casts:
        yield Part("cast weights", casts, "update", "matrices as the pass multiplies by them")


def _kept(shape: Shape, training: Training, work: Pass, *, lean: bool) -> int:
    attention, mlp = (_lean if lean else _module)(shape, training, work)
    if training.gradient_checkpointing:
        stream = FLOAT32 if lean or training.weights_dtype == "float32" else 2
        return work.positions * (shape.layers * stream * shape.hidden + attention + mlp)
    through = (shape.layers - 1) * work.positions + (work.predicted if lean else work.positions)
    return shape.layers * work.positions * attention + through * mlp


def _lean(shape: Shape, training: Training, work: Pass) -> tuple[int, int]:
    """Bytes a position that a layer keeps, of its attention and of its MLP. The residual stream and the normed input
    of either; queries, keys and values before and after the rotation, attention's output and its log-sum, or copies
    of them all and one score for each head and position of the row; the gate, activated, up, and product."""
    size = work.size
    attention = (FLOAT32 + size) * shape.hidden
    if work.scores:
        attention += size * (2 * shape.queries + 2 * shape.keys + shape.heads * work.width)
    else:
        repeated = 2 * shape.queries if work.flash else 0
        attention += size * (3 * shape.queries + 3 * shape.keys + repeated) + FLOAT32 * shape.heads
    return attention, (FLOAT32 + size) * shape.hidden + 4 * size * shape.intermediate


def _module(shape: Shape, training: Training, work: Pass) -> tuple[int, int]:
    """The same of a transformers module under autocast: norms keep float32, each matrix a cast input of its own
    (with adapters: for theirs, and `rank` numbers between the two), masked attention repeated keys and values."""
    size, rank = work.size, training.lora_rank
    repeated = 2 * (shape.queries if work.masked or work.flash else shape.keys)
    attention = FLOAT32 * shape.hidden + size * (3 * shape.hidden + 3 * shape.queries + repeated + 4 * rank)
    attention += FLOAT32 * shape.heads
    mlp = FLOAT32 * shape.hidden + size * (2 * shape.hidden + 4 * shape.intermediate + 3 * rank)
    return attention, mlp


def _casts(shape: Shape, training: Training, work: Pass, *, lean: bool) -> int:
    """Matrices that a pass makes of the weights and keeps until the backward pass has used them: folded with a norm
    (lean: query, key and value are kept joined in float32 as well), cast, or gathered from the other processes,
    one block ahead. With checkpointing one block at a time."""
    size, rounded = work.size, training.weights_dtype == "float32" and work.size != FLOAT32
    layer = shape.qkv + shape.out + 3 * shape.mlp
    if work.processes > 1:
        return size * (2 * layer + (1 if shape.tied else 2) * shape.head)
    layers = 1 if training.gradient_checkpointing else shape.layers
    head = size * shape.head if lean or rounded else 0
    if not lean:
        return (layers * size * layer if rounded else 0) + head
    number = FLOAT32 if training.weights_dtype == "float32" else 2
    block = (number + size) * shape.qkv + 2 * size * shape.mlp
    if rounded:
        block += size * (shape.out + shape.mlp)
    return layers * block + head


def _logits(shape: Shape, training: Training, work: Pass) -> tuple[int, str]:
    chunk = training.head_tokens
    if chunk is None or chunk >= work.predicted:
        tokens, gradient = work.predicted, 0
    else:  # the head's own gradient is summed over the chunks in float32
        tokens, gradient = chunk, 0 if training.lora_rank else (FLOAT32 + work.size) * shape.head
    size = LOGIT_COPIES * FLOAT32 * shape.vocab * tokens + gradient
    return size, f"{LOGIT_COPIES} x {tokens:,} tokens x {shape.vocab:,}" + (
        ", and the head's gradient" * bool(gradient)
    )
