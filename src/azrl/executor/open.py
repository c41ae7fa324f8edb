"""Chooses a backend. Never a weaker one than was asked for, and never in silence."""

from __future__ import annotations

import sys
from collections.abc import Collection

from azrl.errors import UserError
from azrl.executor.base import Executor
from azrl.executor.crew import PoolSettings
from azrl.executor.layers import MINIMUM


def open_executor(
    backend: str,
    *,
    workers: int = 2,
    canary_every: int = 100,
    recycle_after: int = 20_000,
    cache_entries: int = 0,
    minimum_layers: Collection[str] = MINIMUM,
    serves_real_model: bool = False,
    allow_unsafe_mock: bool = False,
) -> Executor:
    """Start an executor; use it as a context manager.

    `process`: fork servers, `workers` for each interpreter variant in use, and every layer of isolation that
    the machine gives; an error names those of `minimum_layers` that it does not. A canary after every
    `canary_every` jobs of a server (0: none), a fresh server after `recycle_after`, a cache of `cache_entries`
    results (0: none). `mock`: RestrictedPython in this process, without layers, for canned and tiny models; with
    `serves_real_model` it needs `allow_unsafe_mock`. `auto`: `process`, or an error that says why it does not
    work here. Raises UserError; a `process` executor that is returned has passed its self-check.
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
    if backend in ("process", "auto"):
        settings = PoolSettings(workers, canary_every, recycle_after, cache_entries)
        return _open_process(settings, minimum_layers)
    if backend == "docker":
        raise UserError("executor.backend=docker is not in this version; use process")
    raise UserError(f"no executor named {backend!r}; there are process, mock and auto")


def _open_process(settings: PoolSettings, minimum_layers: Collection[str] = MINIMUM) -> Executor:
    if sys.platform != "linux":
        raise UserError(
            f"the process executor needs Linux, this is {sys.platform}; executor.backend=mock runs anywhere"
        )
    from azrl.executor.process import ProcessExecutor
    from azrl.executor.selfcheck import check

    executor = ProcessExecutor(settings, minimum=minimum_layers)
    try:
        executor.start()
        check(executor)
    except BaseException:
        executor.close()
        raise
    return executor
