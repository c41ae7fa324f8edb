"""What tests of all folders share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SANDBOX = Path(__file__).parents[1] / "sandbox"


@pytest.fixture(scope="module")
def guest() -> Iterator[dict[str, ModuleType]]:
    """The guest's own modules, imported by their short names as the server does."""
    sys.path.insert(0, str(SANDBOX))
    names = ("bpf", "kernel", "seccomp")
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(SANDBOX))
        for name in names:
            sys.modules.pop(name, None)
