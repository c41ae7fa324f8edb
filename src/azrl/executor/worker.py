"""One server with what the pool knows of it: its state, its job, and the results that no canary has confirmed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from azrl.executor.admit import Admitted
from azrl.executor.base import Job, Result
from azrl.executor.call import Call
from azrl.executor.server import Server


class State(Enum):
    """OFF: started when there is work. STARTING: has not greeted yet."""

    OFF = 0
    STARTING = 1
    FREE = 2
    BUSY = 3


@dataclass(slots=True, eq=False)
class Task:
    """A job on its way, for all who asked for it (`places`: a call and the index in it).

    `canary` is the right output if it is one; `avoid` the worker on which it failed before.
    """

    job: Job
    places: list[tuple[Call, int]]
    born: float
    key: bytes | None = None
    attempt: int = 0
    avoid: Worker | None = None
    canary: str = ""
    admitted: Admitted | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return bool(self.canary) or any(call.live for call, _ in self.places)


@dataclass(slots=True, eq=False)
class Worker:
    """`held`: results since the last canary that was right, the oldest from `held_since`; `mute`: the last one gave
    no answer. `jobs`: since its start. `since` is when the start, or the job, began; `number` the job's in its
    request.
    """

    server: Server
    state: State = State.OFF
    since: float = 0.0
    task: Task | None = None
    number: int = 0
    tended: bool = False
    killed: bool = False
    mute: bool = False
    jobs: int = 0
    held: list[tuple[Task, Result]] = field(default_factory=list)
    held_since: float = 0.0

    @property
    def alive(self) -> bool:
        """Up, so that it can take a job now or soon."""
        return self.state in (State.FREE, State.BUSY)
