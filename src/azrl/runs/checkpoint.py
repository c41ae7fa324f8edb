"""Checkpoints that are complete or absent, and never believed unread.

Saved: into `.tmp-step_N-<pid>`, everything forced to the disk, MANIFEST.json (sha256 and size of every file)
last, then one rename. Loaded: only after the manifest agrees with what lies there; a damaged checkpoint is
reported and the one before it is used. Removed: renamed away first, so that no half of one is ever seen.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from azrl.errors import UserError
from azrl.runs.atomic import disk_errors, reason, sync_path, sync_tree, write_atomic

log = logging.getLogger(__name__)

MANIFEST = "MANIFEST.json"
_STEP = re.compile(r"step_(\d+)")
_FULL_BYTES = 1 << 20


class CheckpointError(UserError):
    """A checkpoint could not be written, or the one asked for is missing or damaged. Others are untouched."""


class CheckpointStore:
    """The `step_N` folders in one folder, for the process that holds the run; the newest `keep` are kept.

    Opening finishes what a killed process left: half-written folders go, a half-done replacement is undone.
    Whoever only reads uses `latest_checkpoint` and `checkpoint_at`, which change nothing.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        with disk_errors(f"tidy {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob(".old-step_*"):
                target = folder / path.name.removeprefix(".old-")
                if not target.exists():
                    path.rename(target)
            for path in [*folder.glob(".tmp-*"), *folder.glob(".old-*")]:
                shutil.rmtree(path)

    def save(self, step: int, write: Callable[[Path], None], meta: Mapping[str, Any]) -> Path:
        """Let `write(folder)` put its files into a fresh folder and make that `step_<step>`.

        A checkpoint of the same step is replaced. CheckpointError when the disk refuses: then nothing of
        this one is left and all earlier ones stand. Whatever else `write` raises passes, as clean.
        """
        aside = self.folder / f".tmp-step_{step}-{os.getpid()}"
        final = self.folder / f"step_{step}"
        try:
            aside.mkdir()
            write(aside)
            files = {str(p.relative_to(aside)): _digest(p) for p in sorted(aside.rglob("*")) if p.is_file()}
            manifest = {"step": step, "meta": dict(meta), "files": files}
            sync_tree(aside)
            write_atomic(aside / MANIFEST, json.dumps(manifest, indent=1).encode())
            self._publish(aside, final)
        except OSError as error:
            raise CheckpointError(f"checkpoint of step {step} not written: {reason(error)}") from error
        except Exception as error:
            # torch and safetensors report a full disk by errors of their own
            if shutil.disk_usage(self.folder).free < _FULL_BYTES:
                raise CheckpointError(f"checkpoint of step {step} not written: the disk is full") from error
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        self._prune(step)
        return final

    def latest(self) -> tuple[int, Path] | None:
        """`latest_checkpoint` of this folder."""
        return latest_checkpoint(self.folder)

    def at(self, step: int) -> Path:
        """`checkpoint_at` of this folder."""
        return checkpoint_at(self.folder, step)

    def discard_after(self, step: int) -> None:
        """Remove the checkpoints of later steps: a run that resumes here writes its own."""
        with disk_errors(f"remove checkpoints in {self.folder}"):
            for later in checkpoint_steps(self.folder):
                if later > step:
                    self._remove(later)

    def _publish(self, aside: Path, final: Path) -> None:
        old = self.folder / f".old-{final.name}"
        if final.exists():
            final.rename(old)
        aside.rename(final)
        sync_path(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def _prune(self, newest: int) -> None:
        for step in checkpoint_steps(self.folder)[: -self.keep]:
            if step != newest:
                try:
                    self._remove(step)
                except OSError as error:
                    log.warning("checkpoint step_%d was to be removed but stays: %s", step, reason(error))

    def _remove(self, step: int) -> None:
        away = self.folder / f".tmp-removed-step_{step}-{os.getpid()}"
        (self.folder / f"step_{step}").rename(away)
        shutil.rmtree(away)


def checkpoint_steps(folder: Path) -> list[int]:
    """Steps that have a folder, ascending; not yet verified."""
    found = (_STEP.fullmatch(path.name) for path in folder.glob("step_*") if path.is_dir())
    return sorted(int(match[1]) for match in found if match)


def latest_checkpoint(folder: Path) -> tuple[int, Path] | None:
    """The newest checkpoint that is whole, or None. Each damaged one on the way is logged."""
    for step in reversed(checkpoint_steps(folder)):
        path = folder / f"step_{step}"
        problem = damage(path)
        if problem is None:
            return step, path
        log.error("checkpoint %s is damaged (%s); trying the one before it", path, problem)
    return None


def checkpoint_at(folder: Path, step: int) -> Path:
    """The checkpoint of one step; CheckpointError when it is missing or damaged."""
    path = folder / f"step_{step}"
    if not path.is_dir():
        there = ", ".join(map(str, checkpoint_steps(folder))) or "none"
        raise CheckpointError(f"no checkpoint of step {step} in {folder}; there are: {there}")
    if problem := damage(path):
        raise CheckpointError(f"checkpoint {path} is damaged: {problem}")
    return path


def read_meta(path: Path) -> dict[str, Any]:
    """What `save` was given as `meta`; the path must come from `latest`, `at` or `save`."""
    return json.loads((path / MANIFEST).read_bytes())["meta"]


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None when every file is as its manifest says."""
    try:
        files = json.loads((path / MANIFEST).read_bytes())["files"]
        for name, expected in files.items():
            file = path / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != expected["bytes"]:
                return f"{name} has {file.stat().st_size} bytes, not {expected['bytes']}"
            if _digest(file)["sha256"] != expected["sha256"]:
                return f"{name} has changed content"
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except OSError as error:
        return reason(error)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return None


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}
