"""Finds the guest code: the files of `sandbox/` that run beside hostile programs."""

from __future__ import annotations

from pathlib import Path

from azrl.errors import UserError


def guest_file(name: str) -> Path:
    """Path of a file of `sandbox/`, which lies beside `src/` in a checkout or an editable installation."""
    path = Path(__file__).resolve().parents[3] / "sandbox" / name
    if not path.is_file():
        raise UserError(
            f"the sandbox's guest code is missing: no {path}. It is not part of a wheel; "
            "run from a checkout, or install one with `pip install -e .`"
        )
    return path
