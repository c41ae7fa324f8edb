"""The pool's thread: takes jobs in from all callers, keeps the crew busy, hands results back.

One thread, one loop, no thread a job; the loop never waits on a child or on a server that starts.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque

from azrl.executor.base import Job, Result
from azrl.executor.cache import ResultCache, key_of
from azrl.executor.call import Call
from azrl.executor.crew import Crew, PoolSettings
from azrl.executor.metrics import PoolMetrics
from azrl.executor.server import Launcher
from azrl.executor.worker import Task


class Supervisor:
    """`open`, `add`, `end`, `close` and `read` are for callers' threads; the rest is the loop's."""

    def __init__(self, launch: Launcher, settings: PoolSettings):
        self._metrics = PoolMetrics()
        self._cache = ResultCache(settings.cache_entries) if settings.cache_entries else None
        self._poll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake_fd, select.EPOLLIN)
        self.crew = Crew(launch, settings, self._metrics, self._poll, self._deliver)
        self._shared: dict[bytes, Task] = {}  # under way, and open to others who ask for the same
        self._inbox: deque[tuple[Call, int, Job]] = deque()
        self._calls: set[Call] = set()
        self._lock = threading.Lock()
        self._asleep = self._dropping = self._closed = False
        self._patience = float("inf")  # the moment until which open calls may go on
        self._thread = threading.Thread(target=self._loop, name="azrl-executor", daemon=True)
        self._thread.start()

    def open(self) -> Call:
        """Begin a call. RuntimeError once closed."""
        call = Call()
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is closed")
            self._calls.add(call)
        return call

    def add(self, call: Call, index: int, job: Job) -> None:
        """Hand a job over."""
        call.outstanding += 1
        self._inbox.append((call, index, job))
        if self._asleep:
            os.eventfd_write(self._wake_fd, 1)

    def end(self, call: Call) -> None:
        """The caller is served, or gone: what it still waits for is dropped."""
        call.live = False
        with self._lock:
            self._calls.discard(call)
            if self._thread.is_alive() and (call.outstanding or self._closed):
                self._dropping = True
                os.eventfd_write(self._wake_fd, 1)

    def close(self, drain_s: float) -> None:
        """Refuse new calls, give open ones `drain_s` seconds to finish, stop the servers; idempotent."""
        with self._lock:
            first, self._closed = not self._closed, True
            self._patience = min(self._patience, time.monotonic() + drain_s)
            if self._thread.is_alive():
                os.eventfd_write(self._wake_fd, 1)
        self._thread.join()
        if first:
            self._poll.close()
            os.close(self._wake_fd)

    def read(self) -> dict[str, float]:
        """The metrics now."""
        in_flight = sum(len(worker.line) for worker in self.crew.workers())
        return self._metrics.read(len(self._inbox) + self.crew.queued(), in_flight)

    def _loop(self) -> None:
        trouble: BaseException = RuntimeError("the executor was closed before all jobs were done")
        try:
            while not (self._closed and (not self._calls or time.monotonic() > self._patience)):
                self._turn()
        except BaseException as error:  # a fault of this thread must reach those who wait for it
            trouble = error
        finally:
            self.crew.stop()
            with self._lock:
                self._closed = True
                for call in self._calls:
                    call.fail(trouble)

    def _turn(self) -> None:
        self._take_in()
        self.crew.dispatch()
        self._asleep = True  # before the look at the inbox: who adds later sees it, and wakes us
        events = self._poll.poll(0 if self._inbox else self._timeout())
        self._asleep = False
        for fd, _ in events:
            if fd == self._wake_fd:
                os.eventfd_read(fd)
            else:
                self.crew.on_event(fd)
        self.crew.on_time()

    def _timeout(self) -> float | None:
        timeout = self.crew.timeout()
        return timeout if timeout is not None or not self._closed else 0.1

    def _take_in(self) -> None:
        """New jobs: from the cache, onto a task that is under way, or into the queue."""
        now = time.monotonic()
        while self._inbox:
            call, index, job = self._inbox.popleft()
            if not isinstance(job, Job):
                call.fail(TypeError(f"an executor runs Jobs; this is a {type(job).__name__}"))
                continue
            key = None if self._cache is None else key_of(job)
            if key is not None and self._known(key, call, index):
                self._metrics.counts["cache_hits"] += 1
                continue
            task = Task(job, [(call, index)], now, key)
            if key is not None:
                self._shared[key] = task
            self.crew.add(task)
        self._metrics.queue_max = max(self._metrics.queue_max, self.crew.queued())
        if self._dropping:
            self._dropping = False
            for task in self.crew.drop_unwanted():
                self._settled(task)

    def _known(self, key: bytes, call: Call, index: int) -> bool:
        assert self._cache is not None
        task = self._shared.get(key)
        if task is not None and task.wanted:
            task.places.append((call, index))
            return True
        result = self._cache.get(key)
        if result is None:
            return False
        self._metrics.delivered(0.0)
        call.done(index, result)
        return True

    def _deliver(self, task: Task, result: Result) -> None:
        self._settled(task)
        if self._cache is not None and task.key is not None and task.wanted:
            self._cache.put(task.key, result)
        now = time.monotonic()
        for call, index in task.places:
            self._metrics.delivered(now - task.born)
            if call.live:
                call.done(index, result)

    def _settled(self, task: Task) -> None:
        if task.key is not None and self._shared.get(task.key) is task:
            del self._shared[task.key]
