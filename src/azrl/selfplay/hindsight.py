"""Hindsight: a wrong answer that ran is the right answer to another question.

A program that was written for one set of pairs explains the pairs that it makes itself; an input that missed one output
hits the one it gave. The sandbox has already said which, so each such answer is one more true example, learned
beside the rewards (hindsight experience replay, arXiv 1707.01495; for programs CodeIt, arXiv 2402.04858).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from azrl.engine.base import Engine
from azrl.rl.types import Sample
from azrl.selfplay.solver import Attempt, Group
from azrl.tasks.prompts.base import Template
from azrl.tasks.types import Kind, Task

HINDSIGHT = "hindsight"


class Hindsight:
    """Makes samples of advantage `weight` (0: none) from groups whose solver kept what the answers gave.

    Left out: answers that stand beside other text (their working is for the question that was asked), that failed
    somewhere, whose outputs are longer than `max_value_chars`, all alike, or (induction) equal to the inputs, and
    programs that may not be trained on. The old policy's log-probabilities are the engine's for the new question."""

    def __init__(
        self,
        template: Template,
        engine: Engine,
        encode: Callable[[str], list[int]],
        fits: Callable[[str], bool],
        *,
        weight: float,
        max_value_chars: int,
    ) -> None:
        self._template, self._engine, self._encode, self._fits = template, engine, encode, fits
        self._weight, self._max_value_chars = weight, max_value_chars

    def samples(
        self, groups: Sequence[Group], shuffle: np.random.Generator | None = None
    ) -> tuple[list[Sample], dict[str, float]]:
        """Samples with their number and their surprise (`nll`, nats a token before the update) as metrics.

        With `shuffle` the answers are dealt out anew among the questions of a kind: the control experiment, from which
        nothing can be learned."""
        if not self._weight:
            return [], {}
        found = [pair for group in groups for pair in self._relabelled(group)]
        if shuffle is not None:
            found = _dealt_out(found, shuffle)
        if not found:
            return [], {}
        pairs = [
            (tuple(self._encode(self._template.solve(task))), attempt.completion.token_ids)
            for task, attempt in found
        ]
        scores = self._engine.score(pairs)
        samples = [
            Sample(prompt, tokens, tuple(scored), self._weight, (task.kind.value, HINDSIGHT))
            for (prompt, tokens), scored, (task, _) in zip(pairs, scores, found, strict=True)
        ]
        nll = -fmean(value for scored in scores for value in scored)
        return samples, {"hindsight/samples": float(len(samples)), "hindsight/nll": nll}

    def _relabelled(self, group: Group) -> Iterator[tuple[Task, Attempt]]:
        """One question for each different wrong answer."""
        wrong = {
            a.answer: a for a in group.judged if a.correct is False and a.answer is not None and a.trainable
        }
        for answer, attempt in wrong.items():
            text = attempt.completion.text
            task = self._question(group.task, answer or "", attempt.gave)
            if task is None or self._template.parse_answer(task.kind, text) != text.strip():
                continue
            if self._fits(self._template.solve(task)):
                yield task, attempt

    def _question(self, task: Task, answer: str, gave: Sequence[str | None]) -> Task | None:
        outputs = tuple(
            output for output in gave if output is not None and len(output) <= self._max_value_chars
        )
        if not gave or len(outputs) < len(gave):
            return None
        if task.kind is Kind.ABDUCTION:
            return replace(task, inputs=(answer,), outputs=outputs)
        if len(set(outputs)) == 1 or outputs == task.inputs:
            return None
        return replace(task, program=answer, outputs=outputs, message="")


def _dealt_out(found: Sequence[tuple[Task, Attempt]], rng: np.random.Generator) -> list[tuple[Task, Attempt]]:
    answers = [attempt for _, attempt in found]
    for kind in Kind:
        places = [i for i, (task, _) in enumerate(found) if task.kind is kind]
        for place, source in zip(places, rng.permutation(places), strict=True):
            answers[place] = found[source][1]
    return [(task, answer) for (task, _), answer in zip(found, answers, strict=True)]
