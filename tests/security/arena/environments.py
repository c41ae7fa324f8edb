"""Where attacks run: a backend, a user, and which layers."""

from __future__ import annotations

from dataclasses import dataclass

NOBODY = 65534
WORKERS = 2


class Unavailable(Exception):
    """This environment cannot be had here; the text says why."""


@dataclass(frozen=True)
class Environment:
    """`uid` is the executor's host's (0 is root); with `layers` "outer" the inner ones are switched off.
    `image`: of the container, for `docker`."""

    name: str
    backend: str
    uid: int
    layers: str = "all"
    image: str = "azrl-sandbox"


ENVIRONMENTS = (
    Environment("process, root", "process", 0),
    Environment("process, unprivileged", "process", NOBODY),
    Environment("docker", "docker", 0),
)
CONTROL = Environment("process, inner layers off", "process", NOBODY, "outer")
