"""The workers and what waits for them: who runs what, and what becomes of it when a server fails.

A server that is lost, or that answers a canary wrong, costs no job: what it had not answered for is run once more,
elsewhere if it can be, and only a second failure is given to the caller, as INFRA. A child that someone else kills is
run once more too; a program that is killed twice is a program that crashes. What is run once more has its server to
itself, so that nobody else's fault is taken for its own. Used by one thread.
"""

from __future__ import annotations

import select
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from azrl.errors import UserError
from azrl.executor import canary, wire
from azrl.executor.admit import VARIANTS, admit, refused
from azrl.executor.base import Result, Status
from azrl.executor.metrics import PoolMetrics
from azrl.executor.server import Launcher, ServerLost
from azrl.executor.wire import Ended
from azrl.executor.worker import State, Task, Worker

_QUICK_SECONDS = 0.02  # a child younger than this is not tended: most are gone by then
_GRACE_SECONDS = 0.5  # past the wall limit, before the server is told to kill the child
_LOST_SECONDS = 10.0  # past the wall limit, before the server is given up
_START_SECONDS = 60.0
_START_TRIES = 3  # servers of a variant that may fail to start in a row before its jobs are given up
_RETRY_SECONDS = 0.05
_AHEAD_CHARS = 1 << 16  # of jobs, after which no more are given ahead
_TURNS = 10  # canaries for turning to another caller, at most, in as many jobs as have one anyway
_HELD_SECONDS = 1.0  # a result waits no longer than this for its canary, once its server is free
_KILLED = f"signal {signal.SIGKILL.value}"
_KILLS = (_KILLED, "cpu_limit", "wall_limit", "too_much_output")


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """`workers` for each variant in use. A canary after every `canary_every` jobs of a server, before it idles and,
    after a tenth as many, before it turns to another caller (0: none); a fresh server after `recycle_after` jobs; the
    cache's size in results (0: none)."""

    workers: int
    canary_every: int = 100
    recycle_after: int = 20_000
    cache_entries: int = 0


class Crew:
    """`deliver` takes each task's result, once; `poll` is told which descriptors to watch."""

    def __init__(
        self,
        launch: Launcher,
        settings: PoolSettings,
        metrics: PoolMetrics,
        poll: select.epoll,
        deliver: Callable[[Task, Result], None],
    ):
        self._launch, self._settings, self._metrics = launch, settings, metrics
        self._poll, self._deliver = poll, deliver
        self._workers: dict[int, list[Worker]] = {}  # by variant
        self._waiting: dict[int, deque[Task]] = {}  # by variant
        self._by_fd: dict[int, Worker] = {}
        self._failures: dict[int, int] = {}  # by variant: starts that failed in a row
        self._number = 0
        self.start_error = ""

    # What the loop calls

    def add(self, task: Task) -> None:
        """Queue a task, unless there can be no server for it."""
        if task.job.variant not in VARIANTS:
            self._deliver(task, refused(task.job, "variant"))
            return
        self._waiting.setdefault(task.job.variant, deque()).append(task)

    def dispatch(self) -> None:
        """Give every worker with room something to do, and start as many as there is work for."""
        for variant, queue in self._waiting.items():
            workers = self._workers_of(variant)
            for worker in workers:
                if worker.alive:
                    self._feed(worker, queue)
            starting = sum(worker.state is State.STARTING for worker in workers)
            for worker in workers:
                if worker.state is State.OFF and starting < len(queue):
                    self._begin(worker)
                    starting += 1

    def on_event(self, fd: int) -> None:
        """A watched descriptor is readable."""
        worker = self._by_fd.get(fd)
        if worker is None:
            return
        try:
            if worker.state is State.STARTING:
                if worker.server.ready():
                    self._failures[worker.server.variant] = 0
                    worker.state = State.FREE
                return
            while worker.alive and (ended := worker.server.receive()) is not None:
                self._ended(worker, ended)
                if worker.server.window == 1:
                    return
        except ServerLost:
            self._lost(worker, "server_lost")
        except UserError as error:
            self._start_failed(worker, error)

    def on_time(self) -> None:
        """Tend what has run for a while, kill what outlives its limits, give up mute servers."""
        now = time.monotonic()
        for worker in self.workers():
            age = now - worker.since
            if worker.state is State.STARTING and age > _START_SECONDS:
                self._start_failed(worker, UserError("the fork server did not start: no greeting"))
            if not worker.line or age <= _QUICK_SECONDS:
                continue
            if not worker.tended:
                worker.tended = True
                worker.server.tend()
            admitted = worker.line[0].admitted
            assert admitted is not None  # it runs
            if age > admitted.wall_s + _GRACE_SECONDS:
                self._kill(worker)
            if age > admitted.wall_s + _LOST_SECONDS:
                worker.server.kill()

    def timeout(self) -> float | None:
        """Seconds until the next thing that time alone decides; None for never."""
        states = [worker.state for worker in self.workers()]
        if any(worker.line and not worker.tended for worker in self.workers()):
            return _QUICK_SECONDS
        if State.BUSY in states or State.STARTING in states:
            return 0.1
        return _RETRY_SECONDS if self.queued() else None  # no server could be started just now

    def drop_unwanted(self) -> list[Task]:
        """Forget tasks that nobody waits for any more and kill those that run; returns those that waited."""
        dropped: list[Task] = []
        for variant, queue in self._waiting.items():
            dropped += [task for task in queue if not task.wanted]
            self._waiting[variant] = deque(task for task in queue if task.wanted)
        for worker in self.workers():
            if worker.line and not worker.line[0].wanted:
                self._kill(worker)
        return dropped

    def stop(self) -> None:
        """Stop every server."""
        for worker in self.workers():
            self._off(worker)

    # What others may read

    def workers(self) -> list[Worker]:
        """Every worker."""
        return [worker for workers in tuple(self._workers.values()) for worker in workers]

    def queued(self) -> int:
        """Jobs that wait."""
        return sum(map(len, tuple(self._waiting.values())))

    # A worker's life

    def _workers_of(self, variant: int) -> list[Worker]:
        if variant not in self._workers:
            first = len(self._workers) * self._settings.workers
            slots = range(first, first + self._settings.workers)
            self._workers[variant] = [Worker(self._launch(variant, slot)) for slot in slots]
        return self._workers[variant]

    def _begin(self, worker: Worker) -> None:
        worker.jobs, worker.unchecked, worker.since = 0, 0, time.monotonic()
        try:
            worker.server.begin()
        except UserError as error:
            self._start_failed(worker, error)
            return
        worker.state = State.STARTING
        self._by_fd[worker.server.fileno()] = worker
        self._poll.register(worker.server.fileno(), select.EPOLLIN)

    def _off(self, worker: Worker) -> None:
        if worker.state is not State.OFF:
            fd = worker.server.fileno()
            self._poll.unregister(fd)
            del self._by_fd[fd]
        worker.server.stop()
        worker.state = State.OFF

    def _start_failed(self, worker: Worker, error: UserError) -> None:
        """After some tries in a row nothing more is expected of the variant, and its jobs end."""
        self._off(worker)
        variant = worker.server.variant
        self.start_error = str(error)
        self._metrics.counts["start_failures"] += 1
        self._failures[variant] = self._failures.get(variant, 0) + 1
        if self._failures[variant] >= _START_TRIES and not any(w.alive for w in self._workers_of(variant)):
            self._failures[variant] = 0
            queue = self._waiting[variant]
            while queue:
                self._give_up(queue.popleft(), "server_start")

    def _lost(self, worker: Worker, reason: str) -> None:
        """The server is gone. What it answered before stands: a loss is no sign of wrong answers."""
        self._off(worker)
        self._metrics.counts["respawns"] += 1
        self._release(worker)
        self._hand_back(worker, reason)

    def _hand_back(self, worker: Worker, reason: str) -> None:
        """Run elsewhere what a server that is off has not answered."""
        line, worker.line = worker.line, deque()
        for task in reversed(line):
            if not task.canary:
                self._again(task, worker, reason)

    def _kill(self, worker: Worker) -> None:
        if not worker.killed:
            worker.killed = True
            worker.server.kill_child()

    # A task's way

    def _feed(self, worker: Worker, queue: deque[Task]) -> None:
        """Give a worker what it may have next: one job, or several where its server takes them ahead, the last one
        was quick, and there are as many for every worker; then not before half of them are done."""
        line = worker.line
        share = len(queue) // self._settings.workers if worker.quick else 1
        depth = max(1, min(worker.server.window, share))
        if len(line) > depth // 2 or (line and line[0].attempt):
            return
        given, chars = len(line), 0
        while len(line) < depth and chars < _AHEAD_CHARS and (task := self._next(worker, queue)) is not None:
            line.append(task)
            chars += len(task.job.program) + sum(map(len, task.job.inputs))
            if task.attempt:
                break
        if len(line) > given:
            if not given:
                self._turn(worker, time.monotonic())
            self._submit(worker, list(line)[given:])

    def _next(self, worker: Worker, queue: deque[Task]) -> Task | None:
        """A canary where one is due, else the next job that can run."""
        line, held, settings = worker.line, worker.held, self._settings
        late = bool(held) and time.monotonic() - worker.held_since > _HELD_SECONDS
        last = worker.jobs + len(line) >= settings.recycle_after
        asked = any(task.canary for task in line)
        due = late or last or worker.mute or not (queue or line) or self._turns(worker, queue)
        if 0 < settings.canary_every <= worker.unchecked or (held and due and not asked):
            job, expected = canary.draw(worker.server.variant)
            self._metrics.counts["canaries"] += 1
            worker.unchecked = 0
            return self._admitted(Task(job, [], 0.0, canary=expected))
        if last:
            if not line:
                self._metrics.counts["recycled"] += 1
                self._off(worker)
            return None
        while queue:
            at = self._choose(worker, queue)
            if at is None or (line and queue[at].attempt):
                return None
            task = queue[at]
            del queue[at]
            if self._admitted(task):
                worker.unchecked += 1
                return task
        return None

    def _turns(self, worker: Worker, queue: deque[Task]) -> bool:
        """Whether the next job is another caller's, so that the last one need not wait until those are done too. Of
        callers that take turns all the time not each pays for a canary."""
        before = worker.line[-1] if worker.line else worker.held[-1][0] if worker.held else None
        if not queue or before is None or before.canary:
            return False
        few = worker.unchecked < self._settings.canary_every // _TURNS
        return not few and queue[0].places[0][0] is not before.places[0][0]

    def _choose(self, worker: Worker, queue: deque[Task]) -> int | None:
        """The first task, unless it failed here before and another worker can have it."""
        others = self._workers_of(worker.server.variant)
        if queue[0].avoid is not worker or not any(w.alive for w in others if w is not worker):
            return 0
        return 1 if len(queue) > 1 else None

    def _admitted(self, task: Task) -> Task | None:
        """The task with a number, ready to run; or None, and the caller has been told why it cannot."""
        admitted = admit(task.job)
        if isinstance(admitted, Result):
            self._deliver(task, admitted)
            return None
        self._number += 1
        task.admitted, task.number = admitted, self._number
        return task

    def _submit(self, worker: Worker, tasks: list[Task]) -> None:
        try:
            for task in tasks:
                assert task.admitted is not None
                request, payload = wire.request(task.number, task.admitted), wire.payload(task.admitted)
                more = task is not tasks[-1]
                worker.server.submit(request, payload, wire.frames_cap(task.admitted), more)
        except ServerLost:
            self._lost(worker, "server_lost")

    def _turn(self, worker: Worker, now: float) -> None:
        """The first of the line, if any, is the one that runs."""
        worker.since, worker.tended, worker.killed = now, False, False
        worker.state = State.BUSY if worker.line else State.FREE

    def _ended(self, worker: Worker, ended: Ended) -> None:
        task = worker.line[0] if worker.line else None
        if task is None or task.admitted is None or ended.reply.job != task.number:
            raise ServerLost("a reply to no request")
        now, ours = time.monotonic(), worker.killed
        worker.line.popleft()
        worker.jobs += 1
        worker.quick = ended.reply.wall_us < _QUICK_SECONDS * 1e6
        self._turn(worker, now)
        if worker.line and not worker.line[0].wanted:
            self._kill(worker)
        if ended.reply.status == wire.COULD_NOT_FORK:
            self._again(task, worker, "could_not_fork")
            return
        self._metrics.ran(ended.reply.wall_us / 1e6)
        if not task.canary and worker.jobs < self._settings.recycle_after:
            self._feed(worker, self._waiting[task.job.variant])  # its next job runs while this one is judged
        result = wire.verdict(task.admitted, ended)
        if task.canary:
            if result.status is Status.OK or worker.mute:
                self._confirm(worker, canary.passes(result, task.canary))
            worker.mute = result.status is not Status.OK  # none is not a wrong one: it is asked once more
            return
        if result.error == _KILLED and not ours and not task.attempt:
            self._again(task, worker, _KILLED)  # no fault of the program, unless it happens again
            return
        if result.error in _KILLS:
            self._metrics.counts[f"kills/{result.error}"] += 1
        if not self._settings.canary_every or worker.state is State.OFF:
            self._deliver(task, result)
            return
        if not worker.held:
            worker.held_since = now
        worker.held.append((task, result))

    def _confirm(self, worker: Worker, right: bool) -> None:
        """A canary's end: what is held may go, or the server is retired and all of it is run again."""
        if right:
            self._release(worker)
            return
        self._metrics.counts["canaries_wrong"] += 1
        self._metrics.counts["respawns"] += 1
        self._off(worker)
        self._hand_back(worker, "wrong_canary")
        held, worker.held = worker.held, []
        for task, _ in reversed(held):
            self._again(task, worker, "wrong_canary")

    def _release(self, worker: Worker) -> None:
        held, worker.held = worker.held, []
        for task, result in held:
            self._deliver(task, result)

    def _again(self, task: Task, worker: Worker, reason: str) -> None:
        """Run a task whose server failed once more, or give it up as the executor's own trouble."""
        if task.canary:
            self._confirm(worker, False)
        elif task.attempt:
            self._give_up(task, reason)
        elif task.wanted:
            task.attempt, task.avoid = 1, worker
            self._metrics.counts["retries"] += 1
            self._waiting[task.job.variant].appendleft(task)

    def _give_up(self, task: Task, reason: str) -> None:
        count = len(task.job.inputs)
        self._metrics.counts["infra"] += 1
        self._deliver(task, Result(Status.INFRA, (None,) * count, reason, 0.0, (reason,) * count))
