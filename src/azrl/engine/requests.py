"""What every engine does with a request before it samples, and with the tokens afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from azrl.engine.base import Completion, Request


def encode(tokenizer: Any, requests: Sequence[Request], longest: int) -> list[tuple[int, ...]]:
    """The token ids of every request's prompt; equal prompts are encoded once.

    ValueError names the first request whose prompt is empty or longer than `longest` tokens, or whose settings
    are out of range."""
    encoded = {request.prompt: tuple(tokenizer.encode(request.prompt)) for request in requests}
    prompts = [encoded[request.prompt] for request in requests]
    for index, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
        if not 1 <= len(prompt) <= longest:
            raise ValueError(f"request {index}: prompt of {len(prompt)} tokens, allowed 1 to {longest}")
        if request.max_tokens < 1 or request.n < 1:
            raise ValueError(f"request {index}: max_tokens and n must be at least 1")
        if not (0.0 <= request.temperature < math.inf and 0.0 < request.top_p <= 1.0):
            raise ValueError(f"request {index}: temperature must be finite and not negative, top_p in (0, 1]")
    return prompts


def complete(
    tokenizer: Any, prompt: tuple[int, ...], tokens: Sequence[int], logprobs: Sequence[float]
) -> Completion:
    """The completion that these tokens are. It has stopped when the last of them is the end token."""
    stopped = tokens[-1] == tokenizer.eos_token_id
    return Completion(
        text=tokenizer.decode(list(tokens[:-1] if stopped else tokens)),
        prompt_ids=prompt,
        token_ids=tuple(tokens),
        logprobs=tuple(logprobs),
        finish="stop" if stopped else "length",
    )
