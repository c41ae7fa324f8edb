"""What this machine has and which presets will run, as two tables."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from azrl import __version__, machine
from azrl.engine.vllm import version as vllm
from azrl.errors import UserError
from azrl.executor import Job, Status, open_executor
from azrl.preflight import preset_trouble, presets, purpose

PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "numpy", "pydantic", "PyYAML", "rich",
    "RestrictedPython", "docker", "tensorboard", "wandb", "trackio",
)  # fmt: skip


def examine(console: Console | None = None) -> None:
    """Print the tables."""
    console = console or Console()
    facts = Table(title=f"azrl {__version__} on {platform.node() or 'this machine'}", show_header=False)
    for name, fact in _facts():
        facts.add_row(name, escape(fact))
    console.print(facts)
    runs = Table(title="presets")
    for heading in ("preset", "here", "what it is, or what is missing"):
        runs.add_column(heading, overflow="fold")
    for preset in presets():
        trouble = preset_trouble(preset)
        verdict = "[red]will not run[/red]" if trouble else "[green]will run[/green]"
        runs.add_row(str(preset), verdict, escape("\n".join(trouble) or purpose(preset)))
    console.print(runs)


def _facts() -> Iterator[tuple[str, str]]:
    processor, flags = machine.cpu()
    fast = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    yield "processor", f"{processor}; {', '.join(fast) or 'no vector extensions known'}"
    yield "cores", f"{machine.cores()} usable of {os.cpu_count()}"
    yield "memory", f"{machine.memory() / machine.GIB:.1f} GiB"
    yield "disk", f"{machine.disk_free('runs') / machine.GIB:.1f} GiB free for runs/"
    found, why = machine.gpus()
    yield "GPU", "\n".join(f"{g.name}, {g.memory / machine.GIB:.0f} GiB" for g in found) or f"none ({why})"
    yield "Docker", machine.docker()
    abi = machine.landlock_abi()
    yield "kernel", f"{platform.system()} {platform.release()}"
    yield "seccomp filters", _yes(machine.seccomp_filters())
    yield "Landlock", f"ABI {abi}" if abi else "no"
    yield "user namespaces", _yes(machine.user_namespaces())
    for backend in ("docker", "process", "mock"):
        yield f"executor {backend}", _executor(backend)
    yield "Python", f"{platform.python_version()} ({sys.executable})"
    yield "packages", "\n".join(f"{name} {_version(name)}" for name in PACKAGES)
    yield "engine vllm", vllm.trouble() or f"{vllm.installed()} (starts in this process)"
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        yield name, os.environ.get(name, "not set")


def _executor(backend: str) -> str:
    """Whether a backend starts, passes its own check and runs an honest program."""
    try:
        with open_executor(backend, workers=1) as executor:
            [result] = executor.run([Job(program="def f(x):\n    return x + 1", inputs=["1"])])
            layers = "\n".join(f"{name}: {value}" for name, value in executor.describe().items())
    except UserError as error:
        return f"does not work: {error}"
    works = result.status is Status.OK and result.outputs == ("2",)
    return f"works\n{layers}" if works else f"does not work: {result.status.value} {result.error}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _yes(there: bool) -> str:
    return "yes" if there else "no"
