"""What a pool counts of itself, and the percentiles of its latest latencies."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

_KEPT = 4096
_PERCENTILES = (50, 95, 99)


class PoolMetrics:
    """Counts since the start. Written by the pool's thread alone; reading from another one is safe.

    `latency_ms` runs from the hand-over of a job to its result, `run_ms` from the start of its child to the end
    of it; both are percentiles over the latest 4,096 jobs.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.queue_max = 0
        self._latency: deque[float] = deque(maxlen=_KEPT)
        self._run: deque[float] = deque(maxlen=_KEPT)

    def ran(self, seconds: float) -> None:
        """A child took so long."""
        self._run.append(seconds)

    def delivered(self, seconds: float) -> None:
        """A result came so long after its job."""
        self.counts["jobs"] += 1
        self._latency.append(seconds)

    def read(self, queued: int, in_flight: int) -> dict[str, float]:
        """Everything by name; what has not happened yet is 0 or left out."""
        flat = {name: float(self.counts[name]) for name in sorted({*_ALWAYS, *tuple(self.counts)})}
        flat |= {"queue": float(queued), "queue_max": float(self.queue_max), "in_flight": float(in_flight)}
        for name, seconds in (("latency_ms", self._latency), ("run_ms", self._run)):
            flat |= {f"{name}_p{p}": 1000 * value for p, value in percentiles(tuple(seconds)).items()}
        return flat


_ALWAYS = ("jobs", "cache_hits", "retries", "respawns", "recycled", "canaries", "canaries_wrong", "infra")


def percentiles(values: Sequence[float]) -> dict[int, float]:
    """Nearest-rank percentiles 50, 95 and 99; none of no values."""
    ranked = sorted(values)
    return {p: ranked[-(-p * len(ranked) // 100) - 1] for p in _PERCENTILES if ranked}
