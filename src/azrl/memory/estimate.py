"""How much memory a run takes: arithmetic on the model's shape and the configuration, before anything is loaded.

What is held all the time (weights, optimizer, the engine's copy) and the largest of the phases: generating (cache,
logits of the sampler), updating (gradients, what a forward pass keeps for the backward one, logits) and copying the
weights; or the start, when the whole model lies beside the engine in float32. Sums over tensors that exist at the
peak, not upper bounds: tests compare them with the allocator's own count, and a run that meets its token budget comes
within 15 % of it. On a GPU, reserved but unused blocks of the allocator come on top. Bytes.
"""

from __future__ import annotations

from azrl.config.schema import Config
from azrl.memory.engine import engine
from azrl.memory.learner import Pass, held, update
from azrl.memory.parts import FLOAT32, PROCESS, Estimate, Part
from azrl.shape import Shape

EXPLICIT_POSITIONS = 1024
"""Rows up to this length keep their attention scores on a CPU in bfloat16 (`models.attention`)."""


def estimate(
    config: Config, shape: Shape, device: str, size: int, *, room: int | None = None, processes: int = 1
) -> Estimate:
    """Memory of one process of a run on `device` (`cpu` or `cuda`, with `room` bytes if it is known) whose matrices
    multiply in numbers of `size` bytes; `processes` share the learner's weights, and the first has the engine."""
    lean = shape.lean and not config.training.lora_rank and processes == 1
    why = "Python and torch" if device == "cpu" else "CUDA context"
    work = biggest_pass(config, device, size, processes)
    engines = tuple(engine(config, shape, device, size, room))
    parts = (
        Part("process", PROCESS[device], "load", why),
        Part("whole model", FLOAT32 * shape.parameters, "load", "in float32, not yet rounded or shared out"),
        *(Part("engine", part.size, "load", "beside it") for part in engines[:1]),
        Part("process", PROCESS[device], "always", why),
        *held(shape, config.training, processes),
        *engines,
        *update(shape, config.training, work, lean=lean),
    )
    return Estimate(parts)


def biggest_pass(config: Config, device: str, size: int, processes: int = 1) -> Pass:
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
    samples = max(1, (settings.batch_size + tasks * each) // (training.minibatches * processes))
    rows = max(1, training.micro_batch_tokens // width)
    return Pass(
        positions=min(rows, samples) * width,
        predicted=min(rows, samples) * answer,
        width=width,
        size=size,
        scores=device == "cpu" and size != FLOAT32 and width <= EXPLICIT_POSITIONS,
        masked=training.batching == "shared" and each > 1,
        flash=training.batching == "packed" and device == "cuda" and size != FLOAT32,
        more=samples > rows,
        processes=processes,
    )
