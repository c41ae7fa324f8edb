"""Supervises one batch of jobs on fork servers: one loop, no thread a job.

The loop never waits on a child: small answers lie in the socket's buffer when the child is dead, and those of
a child that lives longer are drained as they come, up to the cap.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from azrl.errors import UserError
from azrl.executor import wire
from azrl.executor.admit import Admitted, admit
from azrl.executor.base import Job, Result, Status
from azrl.executor.pool import Pool
from azrl.executor.server import ForkServer, ServerLost

_QUICK_SECONDS = 0.005  # a child younger than this is not drained: most are gone by then
_GRACE_SECONDS = 0.5  # past the wall limit, before the server is told to kill the child
_LOST_SECONDS = 10.0  # past the wall limit, before the server is given up
_MAX_READ = 1 << 16


@dataclass(slots=True)
class Flight:
    """A job in a child. `watched`: its own socket is polled, not only its server's."""

    index: int
    admitted: Admitted
    attempt: int
    server: ForkServer
    socket: socket.socket
    unsent: memoryview
    started: float
    data: bytearray = field(default_factory=bytearray)
    watched: bool = False
    killed: bool = False
    flooded: bool = False


class Batch:
    """One call of `run`: what waits by variant, what is in flight by descriptor, and the results so far."""

    def __init__(self, pool: Pool, jobs: Sequence[Job]):
        self._pool = pool
        self._jobs = jobs
        self._results: list[Result | None] = [None] * len(jobs)
        self._waiting: dict[int, deque[tuple[int, int]]] = {}  # variant -> (index, attempt)
        self._flights: dict[int, Flight] = {}  # by the server's descriptor
        self._by_socket: dict[int, Flight] = {}
        self._poll = select.poll()
        for index, job in enumerate(jobs):
            self._waiting.setdefault(job.variant, deque()).append((index, 0))

    def run(self) -> list[Result]:
        while True:
            self._dispatch()
            if not self._flights:
                break
            for fd, event in self._poll.poll(self._timeout_ms()):
                if fd in self._flights:
                    self._on_server(self._flights[fd])
                elif fd in self._by_socket:
                    self._on_socket(self._by_socket[fd], event)
            self._on_time()
        return [result for result in self._results if result is not None]

    def abandon(self) -> None:
        """Give every server back, killing what is still in flight (after an exception in the loop)."""
        for flight in tuple(self._flights.values()):
            self._land(flight)
            flight.server.stop()
            self._pool.give(flight.server)

    def _dispatch(self) -> None:
        """Fill the free servers. Jobs are checked here, while other children run."""
        while self._waiting:
            server = self._pool.take(self._waiting)
            if server is None:
                if self._flights:
                    return
                server = self._pool.wait(self._waiting)
            if not self._next(server):
                self._pool.give(server)

    def _next(self, server: ForkServer) -> bool:
        """Start the next job that waits for this server's variant; False if none does."""
        queue = self._waiting.get(server.variant)
        while queue:
            index, attempt = queue.popleft()
            admitted = admit(self._jobs[index])
            if isinstance(admitted, Result):
                self._results[index] = admitted
                continue
            try:
                self._launch(server, index, admitted, attempt)
            except (ServerLost, UserError) as error:
                server.stop()
                self._again(
                    index, attempt, "server_lost" if isinstance(error, ServerLost) else "server_start"
                )
                queue = self._waiting.get(server.variant)
                continue
            break
        else:
            self._waiting.pop(server.variant, None)
            return False
        if not queue:
            del self._waiting[server.variant]
        return True

    def _launch(self, server: ForkServer, index: int, admitted: Admitted, attempt: int) -> None:
        server.start()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                ours.setblocking(False)
                unsent = memoryview(wire.payload(admitted))
                unsent = unsent[ours.send(unsent) :]
                server.submit(wire.request(index, admitted), theirs.fileno())
            except BaseException:
                ours.close()
                raise
        flight = Flight(index, admitted, attempt, server, ours, unsent, time.monotonic())
        self._flights[server.fileno()] = flight
        self._poll.register(server.fileno(), select.POLLIN)
        if unsent:
            self._watch(flight)

    def _watch(self, flight: Flight) -> None:
        flight.watched = True
        self._by_socket[flight.socket.fileno()] = flight
        self._poll.register(flight.socket, select.POLLIN | (select.POLLOUT if flight.unsent else 0))

    def _unwatch(self, flight: Flight) -> None:
        if self._by_socket.pop(flight.socket.fileno(), None):
            self._poll.unregister(flight.socket)

    def _on_socket(self, flight: Flight, event: int) -> None:
        if event & select.POLLOUT and flight.unsent:
            try:
                flight.unsent = flight.unsent[flight.socket.send(flight.unsent) :]
            except BlockingIOError:
                return
            except OSError:  # the child has closed its end; its server will say how it ended
                flight.unsent = memoryview(b"")
            if not flight.unsent:
                self._poll.modify(flight.socket, select.POLLIN)
        if event & ~select.POLLOUT and not self._drain(flight, once=True):
            self._unwatch(flight)

    def _drain(self, flight: Flight, once: bool) -> bool:
        """Read what is there; False at the end of the stream. Past the cap the child is killed."""
        while True:
            try:
                part = flight.socket.recv(_MAX_READ)
            except BlockingIOError:
                return True
            except OSError:  # closed with our data unread
                return False
            if not part:
                return False
            flight.data += part
            if len(flight.data) > wire.frames_cap(flight.admitted):
                flight.flooded = True
                self._kill(flight)
                return False
            if once:
                return True

    def _on_server(self, flight: Flight) -> None:
        """A reply, or the loss of the server."""
        server = flight.server
        try:
            reply = server.reply()
        except ServerLost:
            self._land(flight)
            server.stop()
            self._again(flight.index, flight.attempt, "server_lost")
            self._pool.give(server)
            return
        if reply is None:
            return
        if not flight.flooded:
            self._drain(flight, once=False)
        self._land(flight)
        self._pool.give(server)
        if reply.status == wire.COULD_NOT_FORK:
            self._again(flight.index, flight.attempt, "could_not_fork")
        else:
            self._results[flight.index] = wire.verdict(flight.admitted, reply, flight.data, flight.flooded)

    def _land(self, flight: Flight) -> None:
        self._unwatch(flight)
        flight.socket.close()
        fd = flight.server.fileno()
        self._poll.unregister(fd)
        del self._flights[fd]

    def _again(self, index: int, attempt: int, reason: str) -> None:
        """Queue a job whose server failed once more, or give it up as the executor's own trouble."""
        job = self._jobs[index]
        if attempt == 0:
            self._waiting.setdefault(job.variant, deque()).appendleft((index, 1))
            return
        count = len(job.inputs)
        self._results[index] = Result(Status.INFRA, (None,) * count, reason, 0.0, (reason,) * count)

    def _kill(self, flight: Flight) -> None:
        if not flight.killed:
            flight.killed = True
            flight.server.kill_child()

    def _timeout_ms(self) -> float:
        """Until the next thing that time alone decides."""
        quick = any(not flight.watched for flight in self._flights.values())
        return _QUICK_SECONDS * 1000 if quick or self._waiting else 100.0

    def _on_time(self) -> None:
        """Drain what has run for a while, kill what outlives its limits, give up mute servers."""
        now = time.monotonic()
        for flight in tuple(self._flights.values()):
            age = now - flight.started
            if age > _QUICK_SECONDS and not flight.watched:
                self._watch(flight)
            if age > flight.admitted.wall_s + _GRACE_SECONDS:
                self._kill(flight)
            if age > flight.admitted.wall_s + _LOST_SECONDS and flight.server.pid is not None:
                flight.server.stop_process()
