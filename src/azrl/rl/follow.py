"""Several processes, one run: the first one plays, and whatever it asks of its learner all of them do.

The loop, the sandbox and the files belong to the first process. It tells the others each call to the learner
before it makes it; they wait, make the same call, and wait again, until it says that it is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azrl.errors import UserError
from azrl.rl.memory import OutOfMemory
from azrl.rl.ranks import Ranks
from azrl.rl.types import Learner, Sample

_DONE = "done"

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
"""A method of the learner, and what it is given."""


class Leader:
    """The first process's `learner`: keeps `azrl.rl.types.Learner`, and the other processes in step."""

    def __init__(self, learner: Learner, ranks: Ranks) -> None:
        self.learner = learner
        self.version = learner.version
        self._ranks = ranks

    def update(self, samples: Sequence[Sample], *, seed: int, progress: float = 0.0) -> dict[str, float]:
        """See `Learner`."""
        return self._all("update", list(samples), seed=seed, progress=progress)

    def weights(self) -> Mapping[str, Any]:
        """See `Learner`."""
        return self._all("weights")

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """See `Learner`."""
        return self._all("score", list(sequences))

    def save(self, folder: Path) -> None:
        """See `Learner`; the folder must be one that all processes see."""
        self._all("save", folder)

    def load(self, folder: Path) -> None:
        """See `Learner`; the folder must be one that all processes see."""
        self._all("load", folder)

    def _all(self, name: str, *args: Any, **settings: Any) -> Any:
        self._ranks.tell((name, args, settings))
        self._ranks.apart = True
        try:
            result = getattr(self.learner, name)(*args, **settings)
        except (UserError, ValueError) as error:  # raised by all of them alike, but for full memory
            self._ranks.apart = isinstance(error, OutOfMemory)
            raise
        self._ranks.apart = False
        self.version = self.learner.version
        return result


def dismiss(ranks: Ranks) -> None:
    """Let the others go. After a call that broke off they cannot hear it: then they end with this process."""
    if not ranks.apart:
        ranks.tell((_DONE, (), {}))


def follow(learner: Learner, ranks: Ranks) -> None:
    """Make the first process's calls until it is done. What is wrong with a batch or a folder it hears of by itself;
    memory that ran out here ends this process, and with it the run."""
    while True:
        call: Call = ("", (), {})
        name, args, settings = ranks.tell(call)
        if name == _DONE:
            return
        try:
            getattr(learner, name)(*args, **settings)
        except OutOfMemory:  # the others wait for this process: the run cannot go on
            raise
        except (UserError, ValueError):
            continue
