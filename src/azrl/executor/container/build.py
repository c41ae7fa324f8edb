"""Hands the image of this machine's Python to the Docker daemon."""

from __future__ import annotations

import contextlib
import json
import platform
import sys
import tempfile
import time
from dataclasses import dataclass

from docker.utils import parse_repository_tag

from azrl.errors import UserError
from azrl.executor.container import daemon
from azrl.executor.container.image import write_root


@dataclass(frozen=True, slots=True)
class Built:
    """An image in the daemon's store."""

    id: str
    megabytes: int
    python: str
    seconds: float


def build(image: str, host: str | None) -> Built:
    """Make `image` (`name` or `name:tag`) anew; the name moves to it. Raises UserError."""
    if sys.platform != "linux":
        raise UserError(
            f"sandbox build packs this machine's own Python, which must be Linux's; this is {sys.platform}: "
            "use `docker build -f sandbox/Dockerfile -t azrl-sandbox .`"
        )
    start = time.monotonic()
    where = daemon.address(host)
    client = daemon.connect(host)
    repository, tag = parse_repository_tag(image)
    with tempfile.NamedTemporaryFile(suffix=".tar") as file, contextlib.closing(client):
        write_root(file)
        file.flush()
        with daemon.explained(where, image):
            said = client.api.import_image_from_file(file.name, repository=repository, tag=tag or "latest")
            last = json.loads(said.splitlines()[-1])
            if "error" in last:  # the daemon's answer was under way when it failed
                raise UserError(f"the Docker daemon at {where} cannot import the image: {last['error']}")
            made = client.images.get(image)
    megabytes = int(made.attrs["Size"]) // 10**6
    return Built(str(made.short_id), megabytes, platform.python_version(), time.monotonic() - start)
