"""The answer key: what nobody solved is learned from the sandbox, which knows the answer.

Every task is made by running a program, so its answer, and the steps to it, are known before anyone is asked. Rewards
say nothing about a task that all attempts fail; its key does. No data come in: programs and inputs are the model's
own. It is supervision all the same, and a run says how much of it there was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np

from azrl.engine.base import Engine
from azrl.rl.types import Sample
from azrl.selfplay.solver import Group

KEY = "key"


class AnswerKey:
    """Makes samples of advantage `weight` x (1 - solve rate) of the groups that have a key; 0 makes none. The old
    policy's log-probabilities are the engine's. `tokens_of` gives a text as the tokens of a whole completion."""

    def __init__(
        self, engine: Engine, tokens_of: Callable[[str], list[int]], *, weight: float, max_tokens: int
    ) -> None:
        self._engine, self._tokens_of = engine, tokens_of
        self._weight, self._max_tokens = weight, max_tokens

    def samples(
        self, groups: Sequence[Group], shuffle: np.random.Generator | None = None
    ) -> tuple[list[Sample], dict[str, float]]:
        """Samples with their number and their surprise (`nll`, nats a token before the update) as metrics; keys longer
        than a response may be are left out.

        With `shuffle` the keys are dealt out anew among the questions of a kind: the control experiment, from which
        nothing can be learned."""
        keyed = [(g, tuple(self._tokens_of(g.key))) for g in groups if self._weight and g.key and g.judged]
        keyed = [(g, tokens) for g, tokens in keyed if len(tokens) <= self._max_tokens]
        if not keyed:
            return [], {}
        if shuffle is not None:
            keyed = _dealt_out(keyed, shuffle)
        pairs = [(g.attempts[0].completion.prompt_ids, tokens) for g, tokens in keyed]
        scores = self._engine.score(pairs)
        samples = [
            Sample(
                prompt,
                tokens,
                tuple(scored),
                self._weight * (1 - g.solved / len(g.judged)),
                (g.task.kind.value, KEY),
            )
            for (prompt, tokens), scored, (g, _) in zip(pairs, scores, keyed, strict=True)
        ]
        nll = -fmean(value for scored in scores for value in scored)
        return samples, {"key/samples": float(len(samples)), "key/nll": nll}


def _dealt_out(
    keyed: Sequence[tuple[Group, tuple[int, ...]]], rng: np.random.Generator
) -> list[tuple[Group, tuple[int, ...]]]:
    dealt = list(keyed)
    for kind in dict.fromkeys(group.task.kind for group, _ in keyed):
        places = [i for i, (group, _) in enumerate(keyed) if group.task.kind is kind]
        for place, source in zip(places, rng.permutation(places), strict=True):
            dealt[place] = (keyed[place][0], keyed[source][1])
    return dealt
