"""Results that need no second run: a bounded LRU by program, inputs, limits and interpreter variant."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from azrl.executor.base import Job, Result, Status

_MAX_CHARS = 32 << 20
_OVERHEAD = 200  # characters' worth of an entry's fixed parts


def key_of(job: Job) -> bytes | None:
    """A digest that two jobs share only if they ask for the same thing; None for a job
    that asks to be run, or that nothing can run."""
    if job.fresh or not isinstance(job.inputs, (list, tuple)):
        return None
    asked = repr((job.program, tuple(job.inputs), job.limits, job.variant))
    return hashlib.blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class ResultCache:
    """At most `entries` results of at most 32 million characters together; `entries` 0 keeps none.

    What time or trouble decided (the wall limit, INFRA) is never kept.
    """

    def __init__(self, entries: int):
        self._entries, self._chars = entries, 0
        self._found: OrderedDict[bytes, Result] = OrderedDict()

    def get(self, key: bytes) -> Result | None:
        """The result, which becomes the latest used."""
        if key in self._found:
            self._found.move_to_end(key)
        return self._found.get(key)

    def put(self, key: bytes, result: Result) -> None:
        """Keep a result; the ones unused for longest make room."""
        if result.status is Status.INFRA or result.error == "wall_limit" or key in self._found:
            return
        self._found[key] = result
        self._chars += _size(result)
        while self._found and (len(self._found) > self._entries or self._chars > _MAX_CHARS):
            self._chars -= _size(self._found.popitem(last=False)[1])

    def __len__(self) -> int:
        return len(self._found)


def _size(result: Result) -> int:
    return _OVERHEAD + sum(len(text or "") + 60 for text in (*result.outputs, *result.errors))
