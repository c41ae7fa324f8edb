"""Finds the guest code: the files of `sandbox/` that run beside hostile programs."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

from azrl.errors import UserError

ENVIRONMENT = {"TZ": "UTC", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "LD_BIND_NOW": "1"}
"""All that a fork server is started with, but for its hash seed. Symbols are bound when it starts: what a child
is the first to call, each child would look up again."""


def guest_file(name: str) -> Path:
    """Path of a file of `sandbox/`, which lies beside `src/` in a checkout or an editable installation."""
    path = Path(__file__).resolve().parents[3] / "sandbox" / name
    if not path.is_file():
        raise UserError(
            f"the sandbox's guest code is missing: no {path}. It is not part of a wheel; "
            "run from a checkout, or install one with `pip install -e .`"
        )
    return path


@cache
def guest_canonical() -> ModuleType:
    """The guest's canonicaliser, for a backend that runs programs in this process."""
    spec = importlib.util.spec_from_file_location("azrl_guest_canonical", guest_file("canonical.py"))
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
