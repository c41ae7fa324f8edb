"""The section `executor`: where programs run, and what they may use."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from azrl.config.section import Section

LayerName = Literal[
    "capabilities", "landlock", "lifeline", "limits", "namespaces", "no_new_privs", "rlimits", "root", "seccomp",
    "user",
]  # fmt: skip


def parse_memory(limit: str | int) -> int:
    """Bytes of `256m`, `1g`, `1.5 GiB` or a number of bytes, at least 1 MiB; units are powers of 1024."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", str(limit).lower())
    size = int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " ")) if match else 0
    if size < 2**20:
        raise ValueError("want a size of at least 1m, such as 256m, 1g or a number of bytes")
    return size


class ExecutorSection(Section):
    backend: Literal["auto", "docker", "process", "mock"] = "auto"
    """`docker`: fork servers in one hardened container; `process`: on this machine; `mock`: RestrictedPython in
    the trainer, a toy; `auto`: the strongest that works here."""
    workers: PositiveInt = 2
    """Fork servers of `process`, for each interpreter variant that is in use."""
    canary_every: NonNegativeInt = 100
    """Jobs of a server after which a known job checks it; results wait for that. 0: never."""
    recycle_after: PositiveInt = 20_000
    """Jobs after which a server is replaced by a fresh one."""
    cache_entries: NonNegativeInt = 4096
    """Results kept, so that the same program with the same inputs and limits runs once. The gate's checks of
    determinism never use it. 0: none."""
    timeout: PositiveFloat = 1.0
    """CPU seconds a job."""
    memory_limit: str | PositiveInt = "256m"
    """Memory a job: 256m, 1g, or bytes."""
    output_chars: PositiveInt = 2000
    """Longest result kept; longer ones are refused, never cut."""
    minimum_layers: tuple[LayerName, ...] = ("limits", "no_new_privs", "rlimits", "seccomp")
    """Layers of isolation without which `process` refuses to start; docs/sandbox.md says what each one holds."""
    image: str = "azrl-sandbox"
    """`docker`: the image, made by `python main.py sandbox build`."""
    runtime: str | None = None
    """`docker`: a runtime that the daemon knows, such as runsc (gVisor); null for the daemon's own."""
    docker_host: str | None = None
    """`docker`: the daemon's address, such as unix:///path; null for DOCKER_HOST or the usual socket."""
    allow_unsafe_mock: bool = False
    """Let `mock` serve a real language model. It holds no attacker; say true only for canned models."""

    @field_validator("memory_limit")
    @classmethod
    def _readable(cls, limit: str | int) -> str | int:
        parse_memory(limit)
        return limit

    @property
    def memory_mb(self) -> int:
        """`memory_limit` in MiB, rounded down."""
        return parse_memory(self.memory_limit) // 2**20
