"""The embedded engine: batched decoding over its own copy of a small model's weights, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from azrl.engine.base import Completion, Request
from azrl.engine.decode import decode, score
from azrl.engine.draws import uniforms
from azrl.engine.requests import complete, encode
from azrl.engine.sampling import Sampler
from azrl.engine.weights import Arch, fuse, named


class TorchEngine:
    """Serves a transformers Qwen2 or Qwen3 causal model.

    The weights are copied: training the module afterwards changes nothing here until `sync`. Requests are
    decoded in order, `batch_rows` rows at a time (a request with more samples than that is a batch of its
    own). Samples are the same whatever shares the batch, up to the rounding of matrix products. Uses torch's
    current thread settings.

    `tokenizer` has `encode`, `decode` and `eos_token_id`, like a transformers tokenizer. Raises ValueError
    for models that it cannot run.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, dtype: torch.dtype, batch_rows: int, max_prompt_length: int
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer names no end token: completions could not end")
        if batch_rows < 1:
            raise ValueError(f"batch_rows must be at least 1, not {batch_rows}")
        self._arch, self._dtype, self._tokenizer = Arch.of(model), dtype, tokenizer
        self._batch_rows, self._max_prompt_length = batch_rows, max_prompt_length
        self.sync(dict(model.named_parameters()))

    def stream(self, requests: Sequence[Request]) -> Iterator[tuple[int, list[Completion]]]:
        """Yield (request index, completions) as batches finish.

        All requests are checked here, before the first is decoded: ValueError for prompts that are empty or
        longer than `max_prompt_length` tokens, and for settings out of range.
        """
        return self._stream(requests, encode(self._tokenizer, requests, self._max_prompt_length))

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """All completions, in request order."""
        return [group for _, group in self.stream(requests)]

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probabilities at temperature 1 of each completion's tokens, under the engine's own weights and
        dtype. ValueError when a prompt is empty."""
        if not all(prompt for prompt, _ in sequences):
            raise ValueError("an empty prompt gives the first token no probability")
        return score(self._arch, self._weights, sequences)

    def sync(self, weights: Mapping[str, Any]) -> None:
        """Copy new weights, named as `model.named_parameters()`. ValueError, and no change, when they do not
        fit the model."""
        self._weights = fuse(self._arch, weights, self._dtype)

    def dump(self, folder: Path) -> None:
        """Write the fused matrices."""
        save_file(named(self._weights), folder / "engine.safetensors")

    def sleep(self) -> None:
        """A second copy of a small model is all that it holds: nothing is given back."""

    def close(self) -> None:
        """Nothing outlives the object."""

    def _stream(
        self, requests: Sequence[Request], prompts: Sequence[tuple[int, ...]]
    ) -> Iterator[tuple[int, list[Completion]]]:
        batch: list[int] = []
        rows = 0
        for index, request in enumerate(requests):
            if batch and rows + request.n > self._batch_rows:
                yield from self._batch(batch, requests, prompts)
                batch, rows = [], 0
            batch.append(index)
            rows += request.n
        if batch:
            yield from self._batch(batch, requests, prompts)

    def _batch(
        self, batch: Sequence[int], requests: Sequence[Request], prompts: Sequence[tuple[int, ...]]
    ) -> Iterator[tuple[int, list[Completion]]]:
        unique = sorted({prompts[index] for index in batch}, key=lambda prompt: (len(prompt), prompt))
        place = {prompt: at for at, prompt in enumerate(unique)}
        rows = [(index, requests[index], k) for index in batch for k in range(requests[index].n)]
        limits = [request.max_tokens for _, request, _ in rows]
        sampler = Sampler(
            uniforms([(request.seed, k) for _, request, k in rows], max(limits)),
            [request.temperature for _, request, _ in rows],
            [request.top_p for _, request, _ in rows],
            self._weights.embed.device,
        )
        owners = [place[prompts[index]] for index, _, _ in rows]
        eos = self._tokenizer.eos_token_id
        written = iter(decode(self._arch, self._weights, unique, owners, limits, sampler, eos))
        for index in batch:
            rows_of = (next(written) for _ in range(requests[index].n))
            yield index, [complete(self._tokenizer, prompts[index], *row) for row in rows_of]
