"""One uninterrupted run, with which resumed ones are compared; a Docker container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker_here
import pytest
from runs_cli import done, outcome, workplace

from azrl.executor.container.options import Options


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


@pytest.fixture(scope="session")
def container() -> Iterator[Options]:
    """Options of a container of this Python; skips without a Docker daemon."""
    with docker_here.image() as options:
        yield options
