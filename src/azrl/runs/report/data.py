"""What a run left behind, read with care: damaged lines are counted and named, missing files told."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from azrl.errors import UserError
from azrl.runs.report.buffer import BufferView, read_buffer

_ROLLOUT_FILES = 40


@dataclass(frozen=True, slots=True)
class RunData:
    """Everything a report shows. `steps` is in step order, one dict of finite numbers a step."""

    folder: Path
    steps: tuple[dict[str, float], ...]
    rollouts: tuple[dict[str, Any], ...]
    buffer: BufferView | None
    config_text: str
    config: dict[str, Any]
    damaged: tuple[str, ...]
    notes: tuple[str, ...]

    def series(self, key: str) -> tuple[tuple[float, float], ...]:
        """(step, value) of one metric, where it was measured."""
        return tuple((line["step"], line[key]) for line in self.steps if key in line)

    def names(self, prefix: str) -> list[str]:
        """What follows `prefix` in the keys, sorted, each once."""
        return sorted({key[len(prefix) :] for line in self.steps for key in line if key.startswith(prefix)})

    def total(self, key: str) -> float:
        """The sum of one metric over all steps."""
        return sum(value for _, value in self.series(key))


def read_run(folder: Path) -> RunData:
    """Read a run directory. UserError when it is not one; anything less is told in `notes` and `damaged`."""
    metrics, config = folder / "metrics.jsonl", folder / "config.resolved.yaml"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such run directory")
    if not metrics.is_file() and not config.is_file():
        raise UserError(
            f"{folder}: not a run directory (neither metrics.jsonl nor config.resolved.yaml in it)"
        )
    damaged: list[str] = []
    notes: list[str] = []
    steps: dict[int, dict[str, float]] = {}
    if metrics.is_file():
        for where, line in _objects(metrics, damaged):
            step = line.get("step")
            if isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**53:
                steps.setdefault(step, {"step": float(step)}).update(_numbers(line))
            else:
                damaged.append(f"{where}: no step number")
    else:
        notes.append("There is no metrics.jsonl: no step was finished.")
    buffer, why = read_buffer(folder / "buffer.sqlite")
    if why:
        notes.append(why)
    text, parsed = _config(config, notes)
    return RunData(
        folder=folder,
        steps=tuple(steps[step] for step in sorted(steps)),
        rollouts=tuple(_rollouts(folder / "rollouts", damaged)),
        buffer=buffer,
        config_text=text,
        config=parsed,
        damaged=tuple(damaged),
        notes=tuple(notes),
    )


def _objects(path: Path, damaged: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, object) of a JSONL file; what is not an object goes to `damaged`."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        damaged.append(f"{path.name}: {error.strerror}")
        return
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            damaged.append(f"{where}: not JSON")
            continue
        if isinstance(value, dict):
            yield where, value
        else:
            damaged.append(f"{where}: not an object")


def _numbers(line: dict[str, Any]) -> dict[str, float]:
    """The finite numbers of a metrics line; text, null and what no float holds are no metrics."""
    kept = {}
    for key, value in line.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
            continue
        if math.isfinite(value):
            kept[key] = float(value)
    return kept


def _rollouts(folder: Path, damaged: list[str]) -> Iterator[dict[str, Any]]:
    """Records of at most 40 files spread over the run, the last one among them."""
    numbered = {int(path.stem[5:]): path for path in folder.glob("step_*.jsonl") if path.stem[5:].isdecimal()}
    steps = sorted(numbered)
    count = min(len(steps), _ROLLOUT_FILES)
    chosen = {steps[round(at * (len(steps) - 1) / max(count - 1, 1))] for at in range(count)}
    for step in sorted(chosen):
        for _, record in _objects(numbered[step], damaged):
            yield {**record, "step": step}


def _config(path: Path, notes: list[str]) -> tuple[str, dict[str, Any]]:
    if not path.is_file():
        notes.append("There is no config.resolved.yaml.")
        return "", {}
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        parsed = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        notes.append("config.resolved.yaml is not readable as YAML; its text is shown as it is.")
        return text, {}
    return text, parsed if isinstance(parsed, dict) else {}
