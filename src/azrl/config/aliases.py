"""Older names of settings: one table, old key to new key and how its value is read.

The old keys are those of the azrl-llm `config.yaml`. Each use gives one note line, so nobody is surprised.
"""

from __future__ import annotations

import math
import os.path
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from azrl.config.dump import inline
from azrl.config.errors import show
from azrl.config.source import Key, Setting


class Unreadable(ValueError):
    """An old key's value has no reading; the message says what is wanted."""


def _same(value: Any) -> Any:
    return value


def _backend(use_mock: Any) -> str:
    if not isinstance(use_mock, bool):
        raise Unreadable("want true or false")
    return "mock" if use_mock else "auto"


def _workers(cores: Any) -> int:
    if isinstance(cores, bool) or not isinstance(cores, int | float) or not 0 < cores < math.inf:
        raise Unreadable("want a number of cores above 0")
    return max(1, round(cores))


def _kinds(types: Any) -> Any:
    """A list of names, or a mapping from names to true or false."""
    if isinstance(types, dict):
        if not all(isinstance(on, bool) for on in types.values()):
            raise Unreadable("want a list of names, or true or false for each name")
        types = [name for name, on in types.items() if on]
    return types


@dataclass(frozen=True, slots=True)
class Alias:
    """`convert` raises Unreadable for a value that has no reading; `why` follows the note."""

    new: str
    convert: Callable[[Any], Any] = _same
    why: str = ""


ALIASES: dict[str, Alias] = {
    "executor.use_mock": Alias("executor.backend", _backend),
    "executor.cpu_limit": Alias("executor.workers", _workers, "one core a worker"),
    "executor.forbidden_modules": Alias("tasks.forbidden_modules"),
    "task_types": Alias("tasks.kinds", _kinds),
    "training.batch_size": Alias("selfplay.batch_size"),
    "training.k_references": Alias("selfplay.k_references"),
    "training.n_samples": Alias("selfplay.n_samples"),
    "training.seed_batch_factor": Alias("selfplay.seed_batch_factor"),
    "training.format_penalty.formatted_wrong": Alias("selfplay.format_penalty.formatted_wrong"),
    "training.format_penalty.format_error": Alias("selfplay.format_penalty.format_error"),
    "training.rollout_temp": Alias("engine.temperature"),
    "training.rollout_top_p": Alias("engine.top_p"),
    "training.max_buffer_size": Alias("buffer.max_buffer_size"),
    "training.checkpoint_interval": Alias("run.checkpoint_interval"),
}

FOLDERS = {
    "paths.buffer_dir": "buffer.sqlite",
    "paths.checkpoint_dir": "checkpoints/",
    "paths.log_dir": "logs/",
    "logging.log_dir": "logs/",
}
"""Folders that were set one by one: a run keeps all of them in its own folder under `paths.runs`."""

OLD_KEYS: tuple[str, ...] = (*ALIASES, *FOLDERS)
OLD_SECTIONS: frozenset[Key] = frozenset(
    tuple(old.split("."))[:depth] for old in OLD_KEYS for depth in range(1, old.count(".") + 1)
)


def translate(settings: Sequence[Setting]) -> tuple[list[Setting], list[str], list[str]]:
    """Settings of one source under their present names, with the notes and the problems that arise."""
    kept: list[Setting] = []
    folders: list[Setting] = []
    notes: list[str] = []
    problems: list[str] = []
    for setting in settings:
        alias = ALIASES.get(setting.dotted)
        if setting.dotted in FOLDERS:
            folders.append(setting)
        elif alias is None:
            kept.append(setting)
        else:
            try:
                new = Setting(tuple(alias.new.split(".")), alias.convert(setting.value), setting.where)
            except Unreadable as e:
                problems.append(f"{setting.where}: {setting.dotted}: {e}, got {show(setting.value)}")
                continue
            kept.append(new)
            notes.append(_note(setting, f"{alias.new}: {inline(new.value)}", alias.why))
    if folders:
        try:
            runs = _common_parent(folders)
        except Unreadable as e:
            problems.append(f"{folders[0].where}: {folders[0].dotted}: {e}")
        else:
            kept.append(Setting(("paths", "runs"), runs, folders[0].where))
            for folder in folders:
                place = f"a run keeps it in {os.path.join(runs, '<name>', FOLDERS[folder.dotted])}"
                notes.append(_note(folder, f"paths.runs: {inline(runs)}", place))
    return kept, notes, problems


def _note(old: Setting, reading: str, why: str) -> str:
    return f"note: {old.where}: {old.dotted} is read as {reading}" + (f" ({why})" if why else "")


def _common_parent(folders: Sequence[Setting]) -> str:
    for folder in folders:
        if not (isinstance(folder.value, str) and folder.value.strip("/ ")):
            raise Unreadable(f"want the path of a folder, got {show(folder.value)}")
    parents = [os.path.dirname(os.path.normpath(f.value)) or "." for f in folders]
    wanted = "the folders of a run lie together; set paths.runs instead"
    if len({os.path.isabs(p) for p in parents}) > 1:
        raise Unreadable(f"some are relative and some absolute, and {wanted}")
    common = os.path.commonpath(parents) or "."
    if common == "/":
        raise Unreadable(
            f"{', '.join(show(f.value) for f in folders)} have no common parent folder, and {wanted}"
        )
    return common
