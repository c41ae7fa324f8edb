"""An image of this Python for the tests that need a container."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from azrl.errors import UserError
from azrl.executor.container import daemon
from azrl.executor.container.build import build


@pytest.fixture(scope="session")
def sandbox_image() -> Iterator[str]:
    """Its name; removed at the end. Skips where no daemon answers."""
    try:
        client = daemon.connect(None)
    except UserError as error:
        pytest.skip(f"needs a Docker daemon (make test-docker starts one): {error}")
    name = f"azrl-sandbox-attacks:{os.getpid()}"
    build(name, None)
    yield name
    client.images.remove(name, force=True)
    client.close()
