"""One uninterrupted run, with which resumed ones are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from runs_cli import done, outcome, workplace


@pytest.fixture(scope="session")
def reference_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run's folder. Not to be changed."""
    folder = workplace(tmp_path_factory.mktemp("reference"))
    done(folder, "--config", "c.yaml", "--name", "whole")
    return folder / "runs" / "whole"


@pytest.fixture(scope="session")
def reference(reference_run: Path) -> dict[str, Any]:
    """What it came to."""
    return outcome(reference_run)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working folder with c.yaml in it."""
    return workplace(tmp_path)
