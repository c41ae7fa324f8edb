"""What a learner leaves on the disk. The weights and config.json are a transformers checkpoint; learner.json,
written last, carries the counters and a digest of every tensor file, so that damage is found before use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from azrl.rl.types import Sample
from azrl.runs.atomic import write_atomic

STATE = "learner.json"

Tensors = dict[str, Tensor]


def write_state(folder: Path, tensors: Mapping[str, Tensors], meta: Mapping[str, Any]) -> None:
    """Write file name -> (name -> tensor) as safetensors into `folder`, then `meta` and digests."""
    folder.mkdir(parents=True, exist_ok=True)
    digests: dict[str, str] = {}
    for file, named in tensors.items():
        data = save({name: value.contiguous() for name, value in named.items()}, {"format": "pt"})
        digests[file] = hashlib.sha256(data).hexdigest()
        write_atomic(folder / file, data)
    write_atomic(folder / STATE, json.dumps({"meta": dict(meta), "sha256": digests}, indent=1).encode())


def read_state(folder: Path, files: Sequence[str]) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """The tensors of `files` and the meta that `write_state` left; ValueError names what is missing or
    damaged."""
    try:
        state = json.loads((folder / STATE).read_text())
        meta, digests = dict(state["meta"]), dict(state["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds no learner: {STATE} is missing or damaged") from error
    tensors: dict[str, Tensors] = {}
    for file in files:
        if file not in digests:
            raise ValueError(f"{folder} was saved without {file}")
        try:
            data = (folder / file).read_bytes()
        except OSError as error:
            raise ValueError(f"{folder / file} cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != digests[file]:
            raise ValueError(f"{folder / file} is damaged: it is not what was saved")
        tensors[file] = load(data)
    return tensors, meta


def check_shapes(file: str, found: Tensors, wanted: Mapping[str, Tensor]) -> None:
    """ValueError unless `found` has the names and shapes of `wanted`."""
    differing = set(found) ^ set(wanted) | {
        n for n in set(found) & set(wanted) if found[n].shape != wanted[n].shape
    }
    if differing:
        names = ", ".join(sorted(differing)[:3])
        raise ValueError(f"{file} belongs to another model: {len(differing)} tensors differ ({names})")


def write_batch(path: Path, samples: Sequence[Sample], meta: Mapping[str, Any]) -> None:
    """Write `samples` and `meta` as JSON (with Python's NaN and Infinity, which json.loads reads)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({**meta, "samples": [asdict(sample) for sample in samples]}).encode())
