"""A run from its first step to its last: fresh or resumed, measured, checkpointed and stopped politely."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azrl.buffer import TaskBuffer
from azrl.config.schema import Config
from azrl.evals.probe import measure_probe
from azrl.room import memory_lines
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
from azrl.runs.report import write_report
from azrl.selfplay.compose import Policy, build_policy, composed
from azrl.selfplay.loop import Parts, SelfPlay
from azrl.selfplay.monitors import AlarmEvent, Monitors
from azrl.selfplay.origin import fitting, given_checkpoint, name_stays_free, resumed_checkpoint

if TYPE_CHECKING:
    from azrl.rl.ranks import Ranks

log = logging.getLogger(__name__)

PAUSED = 3
_FIRST_NOVELTY = 0.5

NUCLEUS = (
    "engine.top_p is %g: rollouts come from the likeliest tokens alone, while the learner's probabilities are of all "
    "tokens. Ratios, importance weights and mismatch_kl do not see that difference, and what is never drawn is never "
    "corrected; set engine.top_p: 1.0, or lower engine.temperature instead, which the learner follows."
)


def train(
    config: Config,
    *,
    resume: str | None,
    checkpoint: str | None,
    command: Sequence[str],
    ranks: Ranks | None = None,
) -> int:
    """Start, or go on with, the run that `config.run.name` names; returns the process's exit code.

    `resume`: `latest`, a step, or anything else for the latest step of the named run. `checkpoint`: a folder
    from which a new run starts. `ranks`: the processes that share the learner (`sharded`). 0: the target is
    reached; 130 or 143: a signal; 3: an alarm paused the run.
    """
    path = Path(config.paths.runs) / str(config.run.name)
    origin = given_checkpoint(checkpoint) if checkpoint is not None else None
    with ExitStack() as stack:
        folder = stack.enter_context(
            RunFolder.create(config, origin=origin) if resume is None else RunFolder.open(path)
        )
        display = Display(
            steps=config.run.iterations,
            heartbeat_s=config.run.heartbeat_s,
            stall_s=config.run.stall_s,
            time_limit_s=config.run.time_limit_s,
        )
        stack.enter_context(open_log(folder.log, config.logging.level, display.console))
        log.info("command: %s", " ".join(command))
        for line in memory_lines(config):
            log.info("memory: %s", line)
        stop = stack.enter_context(StopFlag())
        stack.enter_context(display)
        with name_stays_free(folder) if resume is None else nullcontext():
            checkpoints = CheckpointStore(folder.checkpoints, config.run.keep_checkpoints)
            if resume is not None:
                origin = resumed_checkpoint(folder, resume)
            with display.phase("load"):
                policy = build_policy(config, failures=folder.path / "failures", ranks=ranks)
            if config.engine.top_p < 1:
                log.warning(NUCLEUS, config.engine.top_p)
            if origin is not None:
                with fitting(origin):
                    policy.learner.load(origin / "model")
            buffer = stack.enter_context(_buffer(config, folder, origin))
            parts = stack.enter_context(composed(config, policy, buffer, display.clock))
            for what, fact in parts.executor.describe().items():
                log.info("executor: %s: %s", what, fact)
            run = _Run.open(config, folder, display, stop, policy, parts, checkpoints, stack, origin)
            folder.write_config(config)
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
    step: int
    trained_s: float
    fresh: bool
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
        checkpoints: CheckpointStore,
        stack: ExitStack,
        origin: Path | None,
    ) -> _Run:
        loop, monitors = SelfPlay(parts), Monitors(config.monitors, config.model.max_response_length)
        step, trained_s = 0, 0.0
        if origin is not None:
            state = json.loads((origin / "state.json").read_text())
            step, trained_s = state["step"], state["trained_s"]
            with fitting(origin):
                loop.load_state_dict(state["loop"])
                monitors.load_state_dict(state["monitors"])
            display.go_on(step, trained_s)
        checkpoints.discard_after(step)  # before the metrics that belong to them
        metrics = MetricsLog(folder.metrics)
        stack.callback(metrics.close)
        metrics.truncate(-1 if origin is None else step)
        rollouts = RolloutLog(folder.rollouts)
        rollouts.truncate(step)
        sinks = open_sinks(config, folder, step)
        stack.callback(sinks.close)
        return cls(
            config,
            folder,
            display,
            stop,
            policy,
            parts,
            loop,
            monitors,
            checkpoints,
            metrics,
            rollouts,
            sinks,
            step,
            trained_s,
            fresh=origin is None,
        )

    def go(self) -> int:
        """Run to the target, the time limit, a signal or an alarm; always ends with a checkpoint."""
        with self.display.phase("sync"):
            self.parts.sync({})
        if self.fresh:
            self._begin()
        self.display.clock.lap()
        while not (self.stop or self._finished()):
            self._step()
        self._checkpoint(final=True)
        if self.stop:
            log.info("stopped at step %d; go on with --resume %s", self.step, self.folder.path)
            return self.stop.exit_code
        if self.paused is not None:
            log.warning(
                "paused at step %d by the alarm: %s; go on with --resume %s",
                self.step,
                self.paused,
                self.folder.path,
            )
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

    def _progress(self) -> float:
        """The share of the run that was over before this step."""
        limit = self.config.run.time_limit_s
        return max((self.step - 1) / self.config.run.iterations, self.trained_s / limit if limit else 0.0)

    def _finished(self) -> bool:
        limit = self.config.run.time_limit_s
        late = limit is not None and self.trained_s >= limit
        return self.paused is not None or late or self.step >= self.config.run.iterations

    def _step(self) -> None:
        self.step += 1
        done = self.loop.step(self.step, self._progress())
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
        pool = {f"executor/{name}": value for name, value in self.parts.executor.metrics().items()}
        self._log({**done.metrics, **alarms, **times, **pool, "time/trained": self.trained_s, **probed})
        if self.step % self.config.run.checkpoint_interval == 0:
            self._checkpoint()

    def _probe_due(self) -> bool:
        """Signals make no difference: a step logged without its probe could not be resumed to the same numbers."""
        settings = self.config.probe
        at_end = settings.at_end and self._finished()
        return at_end or (settings.interval > 0 and self.step % settings.interval == 0)

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
