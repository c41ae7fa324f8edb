"""Engine and learner hold the same weights, and prove it."""

from __future__ import annotations

from collections.abc import Sequence

from azrl.engine.base import Engine
from azrl.engine.proof import prove_sync
from azrl.rl.types import Learner

MEAN_SHARE = 0.1


class Sync:
    """Call it after an update: copies the learner's weights and compares log-probabilities on probe texts.

    `probes` are (prompt ids, completion ids); `worst` is the largest difference allowed for a single token, in
    nats, and a tenth of it the largest mean. Beyond that the call raises `engine.proof.SyncMismatch`.
    """

    def __init__(
        self,
        engine: Engine,
        learner: Learner,
        probes: Sequence[tuple[Sequence[int], Sequence[int]]],
        worst: float,
    ):
        self._engine, self._learner, self._probes, self._worst = engine, learner, probes, worst

    def __call__(self) -> dict[str, float]:
        """Copy and prove; returns `sync/worst` and `sync/mean`."""
        self._engine.sync(self._learner.weights())
        proof = prove_sync(
            self._engine.score(self._probes),
            self._learner.score(self._probes),
            worst=self._worst,
            mean=MEAN_SHARE * self._worst,
        )
        return {"sync/worst": proof["worst"], "sync/mean": proof["mean"]}
