"""The loop in this process, with the scripted policy: composed as `train` does, and watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from azrl.buffer import TaskBuffer
from azrl.config import Config
from azrl.executor import Executor
from azrl.rl.types import Sample
from azrl.runs import PhaseClock
from azrl.selfplay.compose import build_policy, composed
from azrl.selfplay.loop import Parts, SelfPlay
from azrl.selfplay.measure import Step

Policy = Callable[[str, float, int], str]


class Watched(SelfPlay):
    """Keeps what the learner was given, step by step."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.updates: list[Sequence[Sample]] = []
        honest = parts.learner.update

        def update(samples: Sequence[Sample], *, seed: int, progress: float = 0.0) -> dict[str, float]:
            self.updates.append(samples)
            return honest(samples, seed=seed, progress=progress)

        parts.learner.update = update  # type: ignore[method-assign]

    def steps(self, n: int) -> list[Step]:
        """Seed, then play n steps."""
        self.seed()
        return [self.step(i + 1) for i in range(n)]


def settings(**sections: dict[str, Any]) -> Config:
    """A configuration of the scripted policy: 24 proposals a step, so that each of 12 arms comes twice."""
    base: dict[str, dict[str, Any]] = {
        "run": {"seed": 1},
        "engine": {"backend": "scripted"},
        "executor": {"backend": "mock"},
        "model": {"max_prompt_length": 512},
        "selfplay": {"batch_size": 24, "practise": 12, "max_new_tasks": 16, "n_samples": 4, "seed_batch_factor": 2},
    }  # fmt: skip
    for name, section in sections.items():
        base[name] = base.get(name, {}) | section
    return Config.model_validate(base)


@contextmanager
def opened(
    folder: Path, config: Config, policy: Policy | None = None, executor: Executor | None = None
) -> Iterator[Watched]:
    """The loop over a new buffer in `folder`; `policy` plays the model and `executor` the sandbox."""
    model = build_policy(config)
    if policy is not None:
        model.engine._policy = policy  # type: ignore[attr-defined]
    with ExitStack() as stack:
        buffer = stack.enter_context(TaskBuffer(folder / "buffer.sqlite"))
        parts = stack.enter_context(composed(config, model, buffer, PhaseClock()))
        if executor is not None:
            solver = parts.solver
            solver._executor = executor
            parts = replace(parts, executor=executor)
        yield Watched(parts)
