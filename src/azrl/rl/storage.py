"""What a learner leaves on the disk. The weights and config.json are a transformers checkpoint; learner.json,
written last, carries the counters and a digest of every tensor file, so that damage is found before use."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from azrl.rl.types import Sample
from azrl.runs.atomic import write_atomic

STATE = "learner.json"

Tensors = dict[str, Tensor]


def write_tensors(path: Path, named: Mapping[str, Tensor]) -> str:
    """Write safetensors, all or nothing; returns the digest. Tensors are made contiguous one file at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        save_file({name: value.contiguous() for name, value in named.items()}, aside, {"format": "pt"})
        digest = _digest(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return digest


def write_index(folder: Path, meta: Mapping[str, Any], digests: Mapping[str, str]) -> None:
    """Write `meta` and the digests of the tensor files, which lie there already."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / STATE, json.dumps({"meta": dict(meta), "sha256": dict(digests)}, indent=1).encode())


def read_index(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The meta and digests that `write_index` left; ValueError when they are missing or damaged."""
    try:
        state = json.loads((folder / STATE).read_text())
        return dict(state["meta"]), dict(state["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds no learner: {STATE} is missing or damaged") from error


class Shards:
    """Safetensors files that hold one tensor's parts under the same name, in order along the first dimension
    (scalars are in all of them); one file holds whole tensors. Nothing is read before it is asked for."""

    def __init__(self, folder: Path, files: Sequence[str], digests: Mapping[str, str]) -> None:
        """ValueError names what is missing or is not what was saved."""
        self.name = files[0]
        self._stack = ExitStack()
        for file in files:
            if file not in digests:
                raise ValueError(f"{folder} was saved without {file}")
            try:
                found = _digest(folder / file)
            except OSError as error:
                raise ValueError(f"{folder / file} cannot be read: {error.strerror}") from error
            if found != digests[file]:
                raise ValueError(f"{folder / file} is damaged: it is not what was saved")
        try:
            self._files = [self._stack.enter_context(safe_open(folder / file, "pt")) for file in files]
        except SafetensorError as error:
            raise ValueError(f"{folder / self.name} is no safetensors file: {error}") from error

    def close(self) -> None:
        """Let the files go."""
        self._stack.close()

    def names(self) -> list[str]:
        """The tensors that there are."""
        return list(self._files[0].keys())

    def check(self, wanted: Mapping[str, Sequence[int]]) -> None:
        """ValueError unless the tensors have the `wanted` names and whole shapes."""
        found = {name: self._shape(name) for name in self.names()}
        shapes = {name: tuple(shape) for name, shape in wanted.items()}
        differing = {name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name)}
        if differing:
            names = ", ".join(sorted(differing)[:3])
            raise ValueError(
                f"{self.name} belongs to another model: {len(differing)} tensors differ ({names})"
            )

    def whole(self, name: str) -> Tensor:
        """One tensor, its parts joined: a copy, so that nobody writes through to the file."""
        parts = [file.get_tensor(name) for file in self._files]
        return parts[0].clone() if parts[0].ndim == 0 or len(parts) == 1 else torch.cat(parts)

    def _shape(self, name: str) -> tuple[int, ...]:
        shapes = [tuple(file.get_slice(name).get_shape()) for file in self._files]
        return shapes[0] if not shapes[0] else (sum(shape[0] for shape in shapes), *shapes[0][1:])


def write_batch(path: Path, samples: Sequence[Sample], meta: Mapping[str, Any]) -> None:
    """Write `samples` and `meta` as JSON (with Python's NaN and Infinity, which json.loads reads)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({**meta, "samples": [asdict(sample) for sample in samples]}).encode())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
