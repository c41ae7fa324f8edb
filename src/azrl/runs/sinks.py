"""Optional places that metrics also go to: TensorBoard, Weights & Biases, trackio.

metrics.jsonl is the record; these are views. So a sink that fails to start is an error at once, while one
that fails later is dropped with a logged error and the run goes on.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from azrl.config.schema import Config
from azrl.errors import UserError
from azrl.runs.folder import RunPaths

log = logging.getLogger(__name__)

Metrics = Mapping[str, float]


class Sink(Protocol):
    """One more place for metrics."""

    def log(self, step: int, metrics: Metrics) -> None:
        """Take the metrics of one step."""
        ...

    def close(self) -> None:
        """Send what is left and let go."""
        ...


class Sinks:
    """Some sinks as one, by name; one that raises is dropped, the others go on."""

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._sinks = dict(sinks)

    def log(self, step: int, metrics: Metrics) -> None:
        """Give every sink the metrics of one step."""
        for name, sink in list(self._sinks.items()):
            self._guard(name, partial(sink.log, step, metrics))

    def close(self) -> None:
        """Close every sink. Idempotent."""
        for name, sink in list(self._sinks.items()):
            self._guard(name, sink.close)
        self._sinks.clear()

    def _guard(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # third-party code that talks to networks: anything may come
            log.error("logging to %s failed and is off from here: %s", name, error)
            del self._sinks[name]


class TensorBoard:
    """Event files in `tensorboard/` of the run folder; a resume hides what came after its checkpoint."""

    def __init__(self, config: Config, run: RunPaths, start_step: int) -> None:
        module = _need("torch.utils.tensorboard", "tensorboard")
        self._writer = module.SummaryWriter(str(run.path / "tensorboard"), purge_step=start_step + 1)

    def log(self, step: int, metrics: Metrics) -> None:
        for key, value in metrics.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A Weights & Biases run of the same name, gone on with on resume. Steps are its x axis, not its own
    counter, which refuses to go back."""

    def __init__(self, config: Config, run: RunPaths, start_step: int) -> None:
        self._run = _need("wandb", "wandb").init(
            project=config.logging.wandb_project, name=run.name, id=run.name, resume="allow",
            dir=str(run.path), config=config.model_dump(mode="json"),
        )  # fmt: skip
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, metrics: Metrics) -> None:
        self._run.log({**metrics, "step": step})

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """A trackio run of the same name, in trackio's own local store, gone on with on resume."""

    def __init__(self, config: Config, run: RunPaths, start_step: int) -> None:
        self._run = _need("trackio", "trackio").init(
            project="azrl", name=run.name, resume="allow", config=config.model_dump(mode="json")
        )

    def log(self, step: int, metrics: Metrics) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


_KINDS: dict[str, Callable[[Config, RunPaths, int], Sink]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}


def open_sinks(config: Config, run: RunPaths, start_step: int = 0) -> Sinks:
    """The sinks that `config.logging.use_<name>` asks for, going on after `start_step`.

    UserError when a package is missing, naming it, or when a sink cannot start.
    """
    wanted = {
        "tensorboard": config.logging.use_tensorboard,
        "wandb": config.logging.use_wandb,
        "trackio": config.logging.use_trackio,
    }
    opened: dict[str, Sink] = {}
    for name in (name for name, on in wanted.items() if on):
        try:
            opened[name] = _KINDS[name](config, run, start_step)
        except UserError:
            Sinks(opened).close()
            raise
        except Exception as error:
            Sinks(opened).close()
            raise UserError(f"logging.use_{name}: it could not start: {error}") from error
    return Sinks(opened)


def _need(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"logging.use_{package} needs the package {package}: pip install {package}, "
            f"or set logging.use_{package}=false ({error})"
        ) from error
