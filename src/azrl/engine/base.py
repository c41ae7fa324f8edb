"""Where completions come from: the contract that every engine keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and how to sample from it. `temperature` 0 is greedy. The draw of sample k depends only
    on (`seed`, k), never on what else is in the batch."""

    prompt: str
    max_tokens: int
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote: `token_ids` includes the end token when `finish` is "stop"; `logprobs[i]` is the
    natural-log probability of `token_ids[i]` under the softmax of logits / the request's temperature (1 where it is
    greedy), over all tokens also where `top_p` left some out. vLLM alone reports them at temperature 1 always, which is
    why rollouts that are learned from are drawn with it at 1."""

    text: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: str


class Engine(Protocol):
    """Generates, scores and takes new weights."""

    def stream(self, requests: Sequence[Request]) -> Iterator[tuple[int, list[Completion]]]:
        """Yield (request index, its n completions) as groups finish; the order is the engine's."""
        ...

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """All completions, in request order."""
        ...

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probabilities of each completion's tokens after its prompt: (prompt_ids, token_ids) pairs."""
        ...

    def sync(self, weights: Mapping[str, Any]) -> None:
        """Take new weights (transformers parameter names to tensors). The caller proves the result."""
        ...

    def dump(self, folder: Path) -> None:
        """Write the weights as the engine holds them into `folder`, for whoever asks why a proof failed."""
        ...

    def sleep(self) -> None:
        """Called before the learner updates: give back what memory the two share. Any later use wakes it."""
        ...

    def close(self) -> None:
        """Release memory and processes. Idempotent."""
        ...
