"""Chooses a backend. Never a weaker one than was asked for, and never in silence."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection

from azrl.errors import UserError
from azrl.executor.base import Executor
from azrl.executor.container.options import Options
from azrl.executor.crew import PoolSettings
from azrl.executor.layers import MINIMUM
from azrl.executor.pooled import PooledExecutor

log = logging.getLogger(__name__)


def open_executor(
    backend: str,
    *,
    workers: int = 2,
    canary_every: int = 100,
    recycle_after: int = 20_000,
    cache_entries: int = 0,
    minimum_layers: Collection[str] = MINIMUM,
    container: Options | None = None,
    serves_real_model: bool = False,
    allow_unsafe_mock: bool = False,
) -> Executor:
    """Start an executor; use it as a context manager.

    `process`: fork servers, `workers` for each interpreter variant in use, and every layer of isolation that
    the machine gives; an error names those of `minimum_layers` that it does not. A canary after every
    `canary_every` jobs of a server (0: none), a fresh server after `recycle_after`, a cache of `cache_entries`
    results (0: none). `docker`: the same in one hardened container, as `container` says. `mock`: RestrictedPython
    in this process, without layers, for canned and tiny models; with `serves_real_model` it needs
    `allow_unsafe_mock`. `auto`: `docker` where its daemon and image are there, else `process`, which then says
    why it is not `docker`. Raises UserError; a `docker` or `process` executor that is returned has passed its
    self-check.
    """
    if workers < 1:
        raise UserError(f"executor.workers is {workers}; it needs at least 1")
    if backend == "mock":
        if serves_real_model and not allow_unsafe_mock:
            raise UserError(
                "the mock executor runs programs inside the trainer and cannot hold what a real language "
                "model writes; use executor.backend=process, or executor.allow_unsafe_mock=true if you "
                "accept the risk"
            )
        from azrl.executor.mock import MockExecutor

        return MockExecutor()
    settings = PoolSettings(workers, canary_every, recycle_after, cache_entries)
    options = container or Options(workers=workers)
    if backend == "auto":
        return _open_strongest(settings, minimum_layers, options)
    if backend == "process":
        return _open_process(settings, minimum_layers)
    if backend == "docker":
        return _open_docker(settings, minimum_layers, options)
    raise UserError(f"no executor named {backend!r}; there are docker, process, mock and auto")


def _open_strongest(
    settings: PoolSettings, minimum_layers: Collection[str], options: Options
) -> PooledExecutor:
    try:
        executor = _open_docker(settings, minimum_layers, options)
        executor.chosen = "the strongest there is"
    except UserError as error:
        executor = _open_process(settings, minimum_layers)
        executor.chosen = f"the strongest that works here; docker does not: {error}"
    log.info("executor.backend=auto is %s: %s", executor.name, executor.chosen)
    return executor


def _open_docker(settings: PoolSettings, minimum_layers: Collection[str], options: Options) -> PooledExecutor:
    from azrl.executor.container.executor import DockerExecutor

    return _checked(lambda: DockerExecutor(settings, options, minimum=minimum_layers))


def _open_process(settings: PoolSettings, minimum_layers: Collection[str] = MINIMUM) -> PooledExecutor:
    if sys.platform != "linux":
        raise UserError(
            f"the process executor needs Linux, this is {sys.platform}; executor.backend=mock runs anywhere"
        )
    from azrl.executor.process import ProcessExecutor

    return _checked(lambda: ProcessExecutor(settings, minimum=minimum_layers))


def _checked(make: Callable[[], PooledExecutor]) -> PooledExecutor:
    """The executor, started and self-checked, or closed again."""
    from azrl.executor.selfcheck import check

    executor = make()
    try:
        executor.start()
        check(executor)
    except BaseException:
        executor.close()
        raise
    return executor
