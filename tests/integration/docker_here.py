"""A Docker daemon for the tests, and an image of this Python in it; without one the tests say why they skip."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import pytest

from azrl.errors import UserError
from azrl.executor.container import daemon
from azrl.executor.container.build import build
from azrl.executor.container.options import Options
from azrl.executor.container.owner import LABEL

IMAGE = f"azrl-sandbox-test:{os.getpid()}"


@contextmanager
def image() -> Iterator[Options]:
    """Options of an image that is removed at the end; skips where no daemon answers."""
    try:
        client = daemon.connect(None)
    except UserError as error:
        pytest.skip(f"needs a Docker daemon (make test-docker starts one): {error}")
    build(IMAGE, None)
    yield Options(image=IMAGE, workers=1)
    client.images.remove(IMAGE, force=True)
    client.close()


def ours(client: docker.DockerClient) -> set[str]:
    """Ids of all containers of azrl."""
    found = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    return {str(container.id) for container in found}


def gone(client: docker.DockerClient, before: set[str], seconds: float = 5.0) -> bool:
    """Whether no container but those of `before` is left, at once or soon: the daemon removes at its own pace."""
    until = time.monotonic() + seconds
    while not ours(client) <= before:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True
