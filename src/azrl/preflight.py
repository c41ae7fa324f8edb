"""What a configuration needs of the machine, what of that is missing, and which presets run instead."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import azrl
from azrl import machine
from azrl.config import Config, ConfigError, load_config
from azrl.engine.vllm import version as vllm
from azrl.errors import UserError
from azrl.executor import open_executor
from azrl.executor.container.options import Options
from azrl.memory import GIB
from azrl.room import memory_lines, room

SHIPPED = Path(azrl.__file__).parent / "models" / "shipped"
LARGEST_ON_CPU = 1e9
"""Parameters above which training without a GPU is refused: a step would take hours."""
LARGEST_TOY = 1e7
"""Parameters up to which the mock executor may serve a model."""
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def missing(config: Config) -> list[str]:
    """What stops this configuration here, one line each. Cheap: starts nothing and downloads nothing."""
    scripted = config.engine.backend == "scripted"
    lacking = [] if scripted else _model_trouble(config.model.name)
    if not lacking and not scripted:
        lacking = _memory_trouble(config)
    if config.engine.backend == "vllm" and config.engine.vllm.server is None and (absent := vllm.trouble()):
        lacking.append(absent)
    if (
        config.executor.backend == "mock"
        and serves_real_model(config)
        and not config.executor.allow_unsafe_mock
    ):
        lacking.append(
            f"a sandbox: the mock executor holds no attacker, and {config.model.name} is a real language "
            "model; set executor.backend=process (it needs no Docker), or executor.allow_unsafe_mock=true "
            "at your own risk"
        )
    return lacking


def serves_real_model(config: Config) -> bool:
    """Whether programs come from a model large enough to know an attack, or of unknown size."""
    size = parameters(config.model.name)
    return config.engine.backend != "scripted" and (size is None or size > LARGEST_TOY)


def parameters(name: str) -> float | None:
    """About how many parameters a model has, from its files or from a name such as `Qwen2.5-3B`; or None."""
    if name == "tiny":
        return 1.5e6
    folder = Path(name).expanduser()
    if folder.is_dir():
        return sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 2 or None
    said = re.search(
        r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z])", name.casefold().replace("-", " ").replace("_", " ")
    )
    return float(said[1]) * {"b": 1e9, "m": 1e6}[said[2]] if said else None


def choices(config: Config) -> list[tuple[str, str]]:
    """What a run would use, name and choice; starts the executor for a moment to see that it works."""
    template: str = config.model.template
    found, why = machine.gpus()
    if config.engine.device == "cpu":
        found, why = (), "engine.device: cpu"
    folder = Path(config.paths.runs) / (config.run.name or "<preset>-<time>")
    rows = [
        ("run folder", str(folder) + (" (is there already)" if folder.exists() else "")),
        ("model", f"{config.model.name}, template {template}"),
        ("engine", engine_choice(config)),
        ("executor", executor_choice(config)),
        ("device", ", ".join(gpu.name for gpu in found) or f"CPU, {machine.cores()} core(s) ({why})"),
    ]
    rows += [("memory", line) for line in memory_lines(config)]
    return rows + [("missing", line) for line in missing(config)]


def engine_choice(config: Config) -> str:
    """The engine, and of vLLM which and where."""
    settings = config.engine
    where = ""
    if settings.backend == "vllm":
        where = (
            f" at {settings.vllm.server}"
            if settings.vllm.server
            else f" in this process ({vllm.installed() or 'not installed'})"
        )
    return f"{settings.backend}{where}, {settings.threads} thread(s)"


def executor_choice(config: Config) -> str:
    """The executor that starts, with its settings, or why none does."""
    wanted = config.executor.backend
    try:
        with open_executor(
            wanted,
            workers=1,
            minimum_layers=config.executor.minimum_layers,
            container=container_options(config),
            serves_real_model=serves_real_model(config),
            allow_unsafe_mock=config.executor.allow_unsafe_mock,
        ) as executor:
            chosen = executor.describe().get("chosen")
            name = executor.name + (f" (auto: {chosen})" if chosen else "")
    except UserError as error:
        return f"none: {error}"
    settings = config.executor
    return (
        f"{name}, {settings.workers} worker(s), {settings.timeout:g} CPU s and {settings.memory_mb} MB a job"
    )


def container_options(config: Config) -> Options:
    """What `executor.*` says about the container of the docker executor."""
    settings = config.executor
    return Options(
        image=settings.image,
        host=settings.docker_host,
        runtime=settings.runtime,
        memory_mb=settings.memory_mb,
        workers=settings.workers,
    )


def presets() -> list[Path]:
    """The presets: config/ here, or else the checkout's."""
    here = Path("config")
    folder = here if here.is_dir() else Path(azrl.__file__).parents[2] / "config"
    return sorted(folder.glob("*.yaml"))


def purpose(preset: Path) -> str:
    """What a preset says of itself: its first comment line."""
    first = preset.read_text("utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def preset_trouble(preset: Path) -> list[str]:
    """What stops a preset here; nothing when it runs."""
    try:
        return missing(load_config([preset], environ=os.environ).config)
    except ConfigError as error:
        return list(error.problems)


def instead(title: str, lacking: Sequence[str]) -> str:
    """One screen: what is missing, and which presets run on this machine."""
    lines = [f"{title} cannot run on this machine. Missing:", *(f"  - {line}" for line in lacking)]
    able = [preset for preset in presets() if not preset_trouble(preset)]
    if able:
        lines += [
            "",
            f"These run here ({machine.cores()} cores, {machine.memory() / machine.GIB:.0f} GiB of memory):",
        ]
        lines += [
            line
            for preset in able
            for line in (f"  python main.py --config {preset}", f"      {purpose(preset)}")
        ]
    return "\n".join([*lines, "", "More about this machine: python main.py doctor"])


def _memory_trouble(config: Config) -> list[str]:
    """A GPU that is not here or too small, or too little memory; nothing where the model's shape is not known."""
    name, size = config.model.name, parameters(config.model.name)
    try:
        found = room(config)
    except ValueError:  # a damaged or unknown config.json: loading says more
        found = None
    gpus, why = machine.gpus() if config.engine.device != "cpu" else ((), "engine.device: cpu")
    if not gpus and (config.engine.device == "cuda" or (size and size > LARGEST_ON_CPU)):
        about = f"about {size / 1e9:.3g} billion parameters" if size else "an unknown number of parameters"
        wanted = f" and takes about {found.estimate.peak / GIB:.0f} GiB with these settings" if found else ""
        return [f"an NVIDIA GPU: {name} has {about}{wanted}; here: {why}"]
    if found is not None and found.size is not None and found.verdict == "too large":
        return [
            f"memory: {name} takes about {found.estimate.peak / GIB:.1f} GiB with these settings and {found.place} "
            f"has {found.size / GIB:.1f} GiB; {found.advice()}"
        ]
    return []


def _model_trouble(name: str) -> list[str]:
    folder = Path(name).expanduser()
    if name == "tiny":
        if any(SHIPPED.glob("*.safetensors")):
            return []
        return [f"the tiny model's weights ({SHIPPED}): build them by `python main.py warmstart`"]
    if folder.is_dir():
        lacking = []
        if not (folder / "config.json").is_file():
            lacking.append(f"config.json in the model's folder {folder}")
        if not any(folder.glob("*.safetensors")):
            lacking.append(f"weights (*.safetensors) in the model's folder {folder}")
        if not any((folder / file).is_file() for file in _TOKENIZERS):
            lacking.append(f"a tokenizer in the model's folder {folder} (one of {', '.join(_TOKENIZERS)})")
        return lacking
    if _HUB_ID.fullmatch(name):
        return []
    return [f"the model {name!r}: no such folder, and no hub id such as Qwen/Qwen2.5-Coder-3B"]
