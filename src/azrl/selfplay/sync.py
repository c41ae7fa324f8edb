"""Engine and learner hold the same weights, and prove it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from azrl.engine.base import Engine
from azrl.engine.proof import SyncMismatch, prove_rollouts, prove_sync
from azrl.rl.types import Learner

MEAN_SHARE = 0.1


class Sync:
    """Call it after an update: copies the learner's weights and compares log-probabilities on probe texts.

    `probes` are (prompt ids, completion ids); `worst` is the largest difference allowed for a single token (see
    `prove_sync`), and a tenth of it the largest mean; `mismatch` bounds what the learner says of the rollouts that it
    was given (`mismatch_kl`). Beyond a bound the call raises `SyncMismatch`, after it has saved engine, learner and
    scores in a folder of `failures`, if given.
    """

    def __init__(
        self,
        engine: Engine,
        learner: Learner,
        probes: Sequence[tuple[Sequence[int], Sequence[int]]],
        worst: float,
        mismatch: float,
        failures: Path | None = None,
    ):
        self._engine, self._learner, self._probes = engine, learner, probes
        self._worst, self._mismatch, self._failures = worst, mismatch, failures

    def __call__(self, learned: Mapping[str, float]) -> dict[str, float]:
        """Judge the rollouts by what was `learned` from them (nothing, before the first update), copy and prove;
        returns `sync/worst` and `sync/mean`."""
        try:
            if "mismatch_kl" in learned:
                prove_rollouts(learned["mismatch_kl"], self._mismatch)
            self._copy()
            proof = prove_sync(
                self._engine.score(self._probes),
                self._learner.score(self._probes),
                worst=self._worst,
                mean=MEAN_SHARE * self._worst,
            )
        except SyncMismatch as error:
            if self._failures is None:
                raise
            raise SyncMismatch(f"{error}; both were saved in {self._save(self._failures)}") from error
        return {"sync/worst": proof["worst"], "sync/mean": proof["mean"]}

    def _copy(self) -> None:
        try:
            self._engine.sync(self._learner.weights())
        except ValueError as error:
            raise SyncMismatch(f"the engine does not take the learner's weights: {error}") from error

    def _save(self, failures: Path) -> Path:
        """Both models, and what each says of the probes."""
        folder = failures / f"sync-{self._learner.version}"
        shutil.rmtree(folder, ignore_errors=True)  # what a run that was resumed left at the same update
        folder.mkdir(parents=True)
        self._learner.save(folder / "learner")
        (folder / "engine").mkdir()
        self._engine.dump(folder / "engine")
        scores = {
            "probes": [[list(prompt), list(tokens)] for prompt, tokens in self._probes],
            "engine": self._engine.score(self._probes),
            "learner": self._learner.score(self._probes),
        }
        (folder / "scores.json").write_text(json.dumps(scores))
        return folder
