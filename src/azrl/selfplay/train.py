"""A run from its first step to its last: fresh or resumed, measured, checkpointed and stopped politely."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from azrl.buffer import TaskBuffer
from azrl.config.schema import Config
from azrl.errors import UserError
from azrl.evals.probe import measure_probe
from azrl.runs import (
    CheckpointError,
    CheckpointStore,
    Display,
    MetricsLog,
    RolloutLog,
    RunFolder,
    Sinks,
    StopFlag,
    open_log,
    open_sinks,
)
from azrl.runs.checkpoint import checkpoint_at, latest_checkpoint
from azrl.runs.report import write_report
from azrl.selfplay.compose import Policy, build_policy, composed
from azrl.selfplay.loop import Parts, SelfPlay
from azrl.selfplay.monitors import AlarmEvent, Monitors

log = logging.getLogger(__name__)

PAUSED = 3
_FIRST_NOVELTY = 0.5


def train(config: Config, *, resume: str | None, checkpoint: str | None, command: Sequence[str]) -> int:
    """Start, or go on with, the run that `config.run.name` names; returns the process's exit code.

    `resume`: `latest`, a step, or anything else for the latest step of the named run. `checkpoint`: a folder
    from which a new run starts. 0: the target is reached; 130 or 143: a signal; 3: an alarm paused the run.
    """
    path = Path(config.paths.runs) / str(config.run.name)
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder.open(path) if resume is not None else RunFolder.create(config))
        display = Display(
            steps=config.run.iterations,
            heartbeat_s=config.run.heartbeat_s,
            stall_s=config.run.stall_s,
            time_limit_s=config.run.time_limit_s,
        )
        stack.enter_context(open_log(folder.log, config.logging.level, display.console))
        log.info("command: %s", " ".join(command))
        stop = stack.enter_context(StopFlag())
        stack.enter_context(display)
        origin = _origin(folder, resume, checkpoint)
        if resume is not None:
            folder.write_config(config)
        with display.phase("load"):
            policy = build_policy(config, failures=folder.path / "failures")
        if origin is not None:
            policy.learner.load(origin / "model")
        buffer = stack.enter_context(_buffer(config, folder, origin))
        parts = stack.enter_context(composed(config, policy, buffer, display.clock))
        log.info("executor: %s", ", ".join(f"{k} {v}" for k, v in parts.executor.describe().items()))
        run = _Run.open(config, folder, display, stop, policy, parts, stack, origin)
        code = run.go()
        with display.phase("report"):
            report = write_report(folder.path)
    print(f"run: {folder.path}\nreport: {report}")
    return code


def _buffer(config: Config, folder: RunFolder, origin: Path | None) -> TaskBuffer:
    """The buffer as the checkpoint has it, or a new one in place of whatever a killed start left."""
    settings = config.buffer
    open_as = partial(
        TaskBuffer if origin is None else partial(TaskBuffer.restore, origin / "buffer.sqlite"),
        folder.buffer,
        max_size=settings.max_buffer_size,
        decay=settings.decay,
        novelty=settings.novelty,
        freshness_steps=settings.freshness_steps,
    )
    if origin is None:
        for leftover in folder.path.glob(f"{folder.buffer.name}*"):
            leftover.unlink()
    return open_as()


def _origin(folder: RunFolder, resume: str | None, checkpoint: str | None) -> Path | None:
    """The checkpoint to start from, or None for a start from nothing."""
    if checkpoint is not None:
        given = Path(checkpoint)
        if (given / "checkpoints").is_dir():
            given = given / "checkpoints"
        if not given.name.startswith("step_"):
            found = latest_checkpoint(given)
            if found is None:
                raise UserError(f"--checkpoint: {checkpoint} holds no whole checkpoint (step_N folders)")
            return found[1]
        return checkpoint_at(given.parent, int(given.name.removeprefix("step_")))
    if resume is None:
        return None
    if resume.isdigit():
        return checkpoint_at(folder.checkpoints, int(resume))
    found = latest_checkpoint(folder.checkpoints)
    if found is None:
        log.warning("%s has no checkpoint yet: it starts again from step 0", folder.path)
    return found[1] if found else None


@dataclass
class _Run:
    """The state of a run that is under way."""

    config: Config
    folder: RunFolder
    display: Display
    stop: StopFlag
    policy: Policy
    parts: Parts
    loop: SelfPlay
    monitors: Monitors
    checkpoints: CheckpointStore
    metrics: MetricsLog
    rollouts: RolloutLog
    sinks: Sinks
    step: int = 0
    trained_s: float = 0.0
    paused: AlarmEvent | None = None

    @classmethod
    def open(
        cls,
        config: Config,
        folder: RunFolder,
        display: Display,
        stop: StopFlag,
        policy: Policy,
        parts: Parts,
        stack: ExitStack,
        origin: Path | None,
    ) -> _Run:
        state = json.loads((origin / "state.json").read_text()) if origin else None
        step = state["step"] if state else 0
        metrics = MetricsLog(folder.metrics)
        stack.callback(metrics.close)
        metrics.truncate(step if state else -1)
        rollouts = RolloutLog(folder.rollouts)
        rollouts.truncate(step)
        checkpoints = CheckpointStore(folder.checkpoints, config.run.keep_checkpoints)
        checkpoints.discard_after(step)
        sinks = open_sinks(config, folder, step)
        stack.callback(sinks.close)
        run = cls(
            config,
            folder,
            display,
            stop,
            policy,
            parts,
            SelfPlay(parts),
            Monitors(config.monitors, config.model.max_response_length),
            checkpoints,
            metrics,
            rollouts,
            sinks,
            step,
        )
        if state:
            run._load(state)
        return run

    def go(self) -> int:
        """Run to the target, the time limit, a signal or an alarm; always ends with a checkpoint."""
        with self.display.phase("sync"):
            self.parts.sync()
        if self.step == 0:
            self._begin()
        self.display.clock.lap()
        while not self._finished():
            self._step()
        self._checkpoint(final=True)
        if self.stop:
            log.info("stopped at step %d; go on with --resume %s", self.step, self.folder.path)
            return self.stop.exit_code
        if self.paused is not None:
            log.warning("paused at step %d by the alarm: %s", self.step, self.paused)
            return PAUSED
        return 0

    def _begin(self) -> None:
        first: dict[str, float] = {}
        if self.config.probe.at_start:
            first |= self._probe()
        counts = self.loop.seed()
        first |= {f"seed/{reason}": float(n) for reason, n in sorted(counts.items())}
        self._log(first)
        self._checkpoint()

    def _finished(self) -> bool:
        limit = self.config.run.time_limit_s
        late = limit is not None and self.trained_s >= limit
        return bool(self.stop) or self.paused is not None or late or self.step >= self.config.run.iterations

    def _step(self) -> None:
        self.step += 1
        done = self.loop.step(self.step)
        events = self.monitors.observe(self.step, done.signals)
        alarms = {f"alarm/{name}": 1.0 for name in sorted(self.monitors.ringing)}
        for event in events:
            self._act(event)
        if self.step % self.config.logging.rollouts_every == 0:
            self.rollouts.write(self.step, [{"step": self.step, **r} for r in done.rollouts])
        times = self.display.clock.lap()
        self.trained_s += times["time/wall"]
        times["time/tokens_per_s"] = done.sampled_tokens / times["time/wall"]
        probed: dict[str, float] = {}
        if self._probe_due():
            probed = self._probe()
        self._log({**done.metrics, **alarms, **times, "time/trained": self.trained_s, **probed})
        if self.step % self.config.run.checkpoint_interval == 0:
            self._checkpoint()

    def _probe_due(self) -> bool:
        if self._finished():
            return self.config.probe.at_end and not self.stop
        return self.config.probe.interval > 0 and self.step % self.config.probe.interval == 0

    def _act(self, event: AlarmEvent) -> None:
        self.display.alarm(str(event))
        if event.action == "novelty":
            self.loop.novelty_weight = max(_FIRST_NOVELTY, 2 * self.loop.novelty_weight)
        elif event.action == "pause":
            self.paused = event

    def _probe(self) -> dict[str, float]:
        """Measure outside the training time."""
        with self.display.phase("probe"):
            result = measure_probe(
                engine=self.parts.engine,
                executor=self.parts.executor,
                template=self.policy.template,
                limits=self.parts.limits,
                items=self.config.probe.items,
                samples=self.config.probe.samples,
                max_tokens=self.config.model.max_response_length,
                seed=self.config.run.seed,
            )
        result["time/probe"] = self.display.clock.lap()["time/probe"]
        return result

    def _log(self, metrics: dict[str, float]) -> None:
        self.metrics.append(self.step, metrics)
        self.sinks.log(self.step, metrics)
        self.display.show(self.step, metrics)

    def _checkpoint(self, *, final: bool = False) -> None:
        """Save; a refusal of the disk is an error at the end, and a loud warning on the way there."""

        def write(folder: Path) -> None:
            self.parts.learner.save(folder / "model")
            self.parts.buffer.snapshot(folder / "buffer.sqlite")
            (folder / "state.json").write_text(json.dumps(self._state()))

        with self.display.phase("checkpoint"):
            self.metrics.sync()
            try:
                self.checkpoints.save(self.step, write, {"run": self.folder.name})
            except CheckpointError as error:
                if final:
                    raise
                self.display.alarm(f"{error}; the run goes on, and the last whole checkpoint is kept")

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "trained_s": self.trained_s,
            "loop": self.loop.state_dict(),
            "monitors": self.monitors.state_dict(),
        }

    def _load(self, state: dict[str, Any]) -> None:
        self.trained_s = state["trained_s"]
        self.loop.load_state_dict(state["loop"])
        self.monitors.load_state_dict(state["monitors"])
