"""The proposer's side of a step: from a quota of arms to prompts, and from completions to drafts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from azrl.buffer import TaskBuffer
from azrl.config.schema import Config
from azrl.engine.base import Completion, Request
from azrl.seeding import derive, generator
from azrl.tasks.prompts.base import Malformed, Template
from azrl.tasks.types import Draft, Kind, Spec, Task

_FEW = 8


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal: what was asked, what came back, and the draft if it parsed (else `reason` says why not)."""

    arm: str
    spec: Spec
    references: tuple[Task, ...]
    prompt: str
    completion: Completion
    draft: Draft | None
    reason: str


def parse_arm(arm: str) -> Spec:
    """`deduction:2` is the arm of deduction tasks in difficulty bin 2."""
    kind, _, size = arm.partition(":")
    return Spec(Kind(kind), int(size))


class Proposer:
    """Asks the model for tasks, conditioned on reference programs and a spec."""

    def __init__(self, config: Config, template: Template, buffer: TaskBuffer, fits: Callable[[str], bool]):
        self._config, self._template, self._buffer, self._fits = config, template, buffer, fits

    def requests(
        self, arms: Sequence[str], step: int
    ) -> tuple[list[Request], list[tuple[str, Spec, list[Task]]]]:
        """One request an arm, with what was asked. References are dropped one by one until the prompt fits."""
        seed, settings = self._config.run.seed, self._config.selfplay
        rng = generator(seed, step, "references")
        requests, asked = [], []
        for i, arm in enumerate(arms):
            spec = parse_arm(arm)
            references = self._references(spec, rng)
            if spec.kind is Kind.INDUCTION and not references:
                spec = Spec(Kind.DEDUCTION, spec.bin)
            shown = spec if settings.spec else None
            prompt = self._template.propose(shown, spec.kind, references)
            while references and not self._fits(prompt):
                references = references[:-1]
                if spec.kind is Kind.INDUCTION:  # which needs the one that it had
                    spec = Spec(Kind.DEDUCTION, spec.bin)
                prompt = self._template.propose(shown and spec, spec.kind, references)
            requests.append(
                Request(
                    prompt,
                    max_tokens=self._config.model.max_response_length,
                    temperature=self._config.engine.temperature,
                    top_p=self._config.engine.top_p,
                    seed=derive(seed, step, "propose", i),
                )
            )
            asked.append((arm, spec, references))
        return requests, asked

    def read(
        self,
        asked: Sequence[tuple[str, Spec, list[Task]]],
        requests: Sequence[Request],
        groups: Sequence[list[Completion]],
    ) -> list[Proposal]:
        """Parse every completion; one that was cut off at its token limit is malformed."""
        proposals = []
        for (arm, spec, references), request, (completion,) in zip(asked, requests, groups, strict=True):
            draft, reason = None, "cut_off"
            if completion.finish == "stop":
                try:
                    draft = self._template.parse_proposal(spec, spec.kind, references, completion.text)
                    reason = "parsed"
                except Malformed as error:
                    reason = error.reason
            proposals.append(
                Proposal(arm, spec, tuple(references), request.prompt, completion, draft, reason)
            )
        return proposals

    def _references(self, spec: Spec, rng: np.random.Generator) -> list[Task]:
        if spec.kind is Kind.INDUCTION:
            # One of few programs would be asked about again and again: then any program of the buffer will do.
            found = self._buffer.references(None, _FEW, rng=rng, bins=(spec.bin,))
            return found[:1] if len(found) == _FEW else self._buffer.references(None, 1, rng=rng)
        k = self._config.selfplay.k_references
        return self._buffer.references(spec.kind, k, rng=rng) if k else []
