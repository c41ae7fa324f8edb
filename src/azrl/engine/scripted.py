"""A model-free engine: a plain function plays the policy, so that the whole loop is tested in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from azrl.engine.base import Completion, Request
from azrl.engine.draws import uniforms

END = 256
"""The end token; every other token is one UTF-8 byte."""

LOGPROB = -0.1
"""What every token is said to have cost, in nats."""


class ScriptedEngine:
    """Keeps the engine contract with `policy(prompt, u, k) -> text`, for sample k of a prompt.

    `u` in [0, 1) depends only on the request's seed and k; it is 0.0 for greedy requests. `sync` keeps what
    it was given in `weights`, and `syncs` counts how often.
    """

    def __init__(self, policy: Callable[[str, float, int], str]) -> None:
        self.weights: Mapping[str, Any] = {}
        self.syncs = 0
        self._policy = policy

    def stream(self, requests: Sequence[Request]) -> Iterator[tuple[int, list[Completion]]]:
        """Yield (request index, completions) in request order."""
        for index, request in enumerate(requests):
            keys = [(request.seed, k) for k in range(request.n)]
            draws = uniforms(keys, 1)[0].tolist() if request.temperature > 0 else [0.0] * request.n
            yield index, [self._complete(request, u, k) for k, u in enumerate(draws)]

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """All completions, in request order."""
        return [group for _, group in self.stream(requests)]

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """The same constant that `stream` reports, for every completion token."""
        return [[LOGPROB] * len(token_ids) for _, token_ids in sequences]

    def sync(self, weights: Mapping[str, Any]) -> None:
        """Keep the mapping; the policy does not change."""
        self.weights = weights
        self.syncs += 1

    def dump(self, folder: Path) -> None:
        """Write what it was given last."""
        (folder / "scripted.json").write_text(json.dumps(dict(self.weights)))

    def sleep(self) -> None:
        """There is nothing to give back."""

    def close(self) -> None:
        """Nothing is held."""

    def _complete(self, request: Request, u: float, k: int) -> Completion:
        wanted = [*self._policy(request.prompt, u, k).encode("utf-8", "surrogatepass"), END]
        tokens = tuple(wanted[: request.max_tokens])
        return Completion(
            text=bytes(token for token in tokens if token != END).decode("utf-8", "replace"),
            prompt_ids=tuple(request.prompt.encode("utf-8", "surrogatepass")),
            token_ids=tokens,
            logprobs=(LOGPROB,) * len(tokens),
            finish="stop" if tokens[-1:] == (END,) else "length",
        )
