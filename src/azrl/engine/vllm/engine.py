"""vLLM as the engine of both roles: one batch of all kinds, prompt heads cached, groups as they finish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from azrl.engine.base import Completion, Request
from azrl.engine.requests import complete, encode
from azrl.seeding import derive

HOTTEST = 2.0
"""vLLM refuses higher temperatures."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One sequence to sample: the prompt's tokens, and vLLM's sampling parameters by name."""

    prompt: tuple[int, ...]
    sampling: dict[str, Any]


class Host(Protocol):
    """A running vLLM: in this process (`local`) or behind HTTP (`server`)."""

    def draw(self, draws: Sequence[Draw]) -> Iterator[tuple[int, list[int], list[float]]]:
        """(index, tokens, their log-probabilities) of each, as they finish."""
        ...

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """As `Engine.score`."""
        ...

    def load(self, weights: Mapping[str, Any]) -> None:
        """Take transformers' parameters in place, and forget every cached prompt. ValueError when they do not fit
        the model or leave parts of it without any."""
        ...

    def dump(self, folder: Path) -> None:
        """As `Engine.dump`."""
        ...

    def sleep(self) -> None:
        """As `Engine.sleep`."""
        ...

    def close(self) -> None:
        """As `Engine.close`."""
        ...


class VllmEngine:
    """Keeps the engine contract with a vLLM on `host`.

    Sample k of a request has a seed of its own, from the request's and k, and is a vLLM request of its own:
    what it draws does not depend on the batch beyond the rounding of matrix products, and siblings share their
    prompt through the prefix cache. Log-probabilities are those of the model itself: temperature 1, all tokens.
    Only the tokenizer's end token ends a completion, whatever the model's generation_config says."""

    def __init__(self, host: Host, tokenizer: Any, *, max_prompt_length: int) -> None:
        self._host, self._tokenizer, self._max_prompt_length = host, tokenizer, max_prompt_length

    def stream(self, requests: Sequence[Request]) -> Iterator[tuple[int, list[Completion]]]:
        """Yield (request index, completions) as groups finish, in vLLM's order. All requests are checked first:
        ValueError as the torch engine, and for temperatures above 2."""
        for index, request in enumerate(requests):
            if request.temperature > HOTTEST:
                raise ValueError(f"request {index}: vLLM takes temperatures up to {HOTTEST:g}")
        return self._stream(requests, encode(self._tokenizer, requests, self._max_prompt_length))

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """All completions, in request order."""
        groups = dict(self.stream(requests))
        return [groups[index] for index in range(len(requests))]

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probabilities at temperature 1 of each completion's tokens. ValueError when a prompt is empty."""
        if not all(prompt for prompt, _ in sequences):
            raise ValueError("an empty prompt gives the first token no probability")
        return self._host.score(sequences)

    def sync(self, weights: Mapping[str, Any]) -> None:
        """Hand new weights, named as `model.named_parameters()`, to vLLM's model, in place. ValueError when they
        do not fit it or leave parts of it without any."""
        self._host.load(weights)

    def dump(self, folder: Path) -> None:
        """Write vLLM's parameters, under its own names, into `folder`."""
        self._host.dump(folder)

    def sleep(self) -> None:
        """Free the GPU for the learner, where vLLM runs on the same one; the next use wakes it."""
        self._host.sleep()

    def close(self) -> None:
        """Stop a vLLM of this process; a server goes on."""
        self._host.close()

    def _stream(
        self, requests: Sequence[Request], prompts: Sequence[tuple[int, ...]]
    ) -> Iterator[tuple[int, list[Completion]]]:
        owners = [(index, k) for index, request in enumerate(requests) for k in range(request.n)]
        draws = [Draw(prompts[index], self._sampling(requests[index], k)) for index, k in owners]
        found: list[dict[int, Completion]] = [{} for _ in requests]
        for at, tokens, logprobs in self._host.draw(draws):
            index, k = owners[at]
            found[index][k] = complete(self._tokenizer, prompts[index], tokens, logprobs)
            if len(found[index]) == requests[index].n:
                yield index, [found[index][k] for k in range(requests[index].n)]

    def _sampling(self, request: Request, k: int) -> dict[str, Any]:
        return {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": derive(request.seed, k),
            "max_tokens": request.max_tokens,
            "logprobs": 0,  # of the sampled token alone
            "ignore_eos": True,
            "stop_token_ids": [self._tokenizer.eos_token_id],
            "detokenize": False,
        }
