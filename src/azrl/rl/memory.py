"""When memory runs out in the middle of a step: halve the micro-batch and take the step from its beginning."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from azrl.errors import UserError
from azrl.rl.batching import Row

log = logging.getLogger(__name__)

_SMALLER = (
    "training.gradient_checkpointing=true, training.head_tokens=1024, training.lora_rank=32 or "
    "training.optimizer_offload=true"
)

T = TypeVar("T")


class OutOfMemory(UserError):
    """Even one row a micro-batch does not fit. No step was taken on it; the message says where the batch was
    saved."""


class Budget:
    """The tokens of a micro-batch: `tokens` until they do not fit, then half of that for good. Of several
    processes one cannot go back alone, so there it is not `divisible`: the first refusal ends the step."""

    def __init__(self, tokens: int, *, divisible: bool = True) -> None:
        self.tokens = tokens
        self._divisible = divisible

    def within(self, work: Callable[[int], T], rows: Sequence[Row], what: str) -> T:
        """`work(tokens)` on `rows`, from its beginning again whenever memory runs out. OutOfMemory when halving
        cannot help. Work must be repeatable."""
        while True:
            try:
                return work(self.tokens)
            except RuntimeError as error:
                if not _ran_out(error):
                    raise
                reason = " ".join(str(error).split())[:200]
            self._halve(rows, what, reason)  # behind the except block, whose traceback holds the tensors

    def _halve(self, rows: Sequence[Row], what: str, reason: str) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        longest = max(row.length for row in rows)
        tokens = min(self.tokens, sum(row.length for row in rows))
        if not self._divisible or tokens <= longest:
            share = f"{self.tokens} tokens a micro-batch, the longest row {longest}"
            raise OutOfMemory(f"out of memory in {what} ({share}); try {_SMALLER}. {reason}")
        self.tokens = max(tokens // 2, 1)
        log.warning(
            "out of memory in %s: micro-batches of %d tokens from now on (%s)", what, self.tokens, reason
        )


def _ran_out(error: RuntimeError) -> bool:
    """Of a device, or of the CPU's memory, which torch reports as a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(
        error
    )
