"""The Docker daemon: reaching it, and saying in plain words why it cannot be used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import kwargs_from_env

from azrl.errors import UserError

_SECONDS = 20  # for any one answer of the daemon
BUILD = "python main.py sandbox build"


def connect(host: str | None) -> docker.DockerClient:
    """A client of the daemon at `host` (`unix:///path`, `tcp://name:port`), else of DOCKER_HOST, else of the
    usual socket. Raises UserError."""
    where = address(host)
    settings = kwargs_from_env()
    settings["base_url"] = where
    with explained(where):
        return docker.DockerClient(timeout=_SECONDS, version="auto", **settings)


def address(host: str | None) -> str:
    """The daemon's address."""
    return host or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


@contextmanager
def explained(where: str, image: str = "") -> Iterator[None]:
    """Errors of the SDK become UserErrors that say what to do."""
    try:
        yield
    except ImageNotFound as error:
        raise UserError(
            f"the Docker daemon at {where} has no image {image!r}: make it by `{BUILD}` "
            "(it needs no registry), or set executor.image"
        ) from error
    except APIError as error:
        raise UserError(_refusal(error, where, image)) from error
    except (DockerException, requests.RequestException, OSError) as error:
        raise UserError(_unreachable(error, where)) from error


def _refusal(error: APIError, where: str, image: str) -> str:
    said = str(error.explanation or error)
    if "executable file not found" in said or "no such file or directory" in said:
        return f"the image {image!r} has no `python3`: make a fit one by `{BUILD}`, or set executor.image ({said})"
    if "runtime" in said and ("nknown" in said or "not found" in said):
        return (
            f"the Docker daemon at {where} does not know the runtime that executor.runtime names ({said}): "
            "install it and add it to the daemon's `runtimes`, or leave executor.runtime out"
        )
    if "invalid reference" in said:
        return f"executor.image is {image!r}, and that is no image's name ({said})"
    return f"the Docker daemon at {where} refuses: {said}"


def _unreachable(error: BaseException, where: str) -> str:
    causes = list(_causes(error))
    if any(isinstance(cause, PermissionError) or "Permission denied" in str(cause) for cause in causes):
        return (
            f"no permission to use the Docker daemon at {where}: add this user to the group `docker` and log in "
            "again, or use executor.backend=process, which needs no daemon"
        )
    plain = next((c for c in reversed(causes) if isinstance(c, OSError) and c.strerror), None)
    why = plain.strerror if plain else str(error)
    return (
        f"no Docker daemon at {where} ({why}): start one (`systemctl start docker`), name another by "
        "executor.docker_host, or use executor.backend=process, which needs none"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps: the SDK nests them in arguments as well as in causes."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        waiting += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
