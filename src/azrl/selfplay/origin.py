"""Where a run starts from: nothing, its own newest checkpoint, or another run's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from azrl.errors import UserError
from azrl.runs import RunFolder
from azrl.runs.checkpoint import checkpoint_at, latest_checkpoint

log = logging.getLogger(__name__)


def given_checkpoint(checkpoint: str) -> Path:
    """The checkpoint that `--checkpoint` means: a step_N folder, or the newest one in a run or in its
    `checkpoints`. UserError when it is missing or damaged."""
    given = Path(checkpoint).resolve()
    if (given / "checkpoints").is_dir():
        given = given / "checkpoints"
    step = given.name.removeprefix("step_")
    if step != given.name and step.isdigit():
        return checkpoint_at(given.parent, int(step))
    found = latest_checkpoint(given)
    if found is None:
        raise UserError(f"--checkpoint: {checkpoint} holds no whole checkpoint (step_N folders)")
    return found[1]


def resumed_checkpoint(folder: RunFolder, resume: str) -> Path | None:
    """The checkpoint from which the run in `folder` goes on: the step that `resume` names, else the newest
    whole one, else the one that the run itself started from; None when there is none of these."""
    if resume.isdigit():
        return checkpoint_at(folder.checkpoints, int(resume))
    if found := latest_checkpoint(folder.checkpoints):
        return found[1]
    if start := folder.origin():
        return given_checkpoint(str(start))
    log.warning("%s has no whole checkpoint: it starts again from step 0", folder.path)
    return None


@contextmanager
def fitting(origin: Path) -> Iterator[None]:
    """A whole checkpoint may still be of another model, or of other arms, than the configuration asks for:
    then the parts that load it raise ValueError, and the user is told so."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"checkpoint {origin} does not fit this configuration: {error}") from error


@contextmanager
def name_stays_free(folder: RunFolder) -> Iterator[None]:
    """A new run that cannot start leaves no folder behind."""
    try:
        yield
    except Exception:
        folder.discard()
        raise
