"""One server with what the pool knows of it: its state, its job, and the results that no canary has confirmed."""

from __future__ import annotations

from collections import deque
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

    `canary` is the right output if it is one; `avoid` the worker on which it failed before; `number` is the job's in
    its request.
    """

    job: Job
    places: list[tuple[Call, int]]
    born: float
    key: bytes | None = None
    attempt: int = 0
    avoid: Worker | None = None
    canary: str = ""
    admitted: Admitted | None = None
    number: int = 0

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return bool(self.canary) or any(call.live for call, _ in self.places)


@dataclass(slots=True, eq=False)
class Worker:
    """`line`: what its server has been given and has not answered; the first runs, `since` then, as far as is known
    here (for a server that starts, since its start), and `tended` and `killed` are about it. `held`: results since
    the last canary that was right, the oldest from `held_since`; `mute`: the last one gave no answer; `unchecked`:
    jobs given to the server since the last one. `quick`: so was the last job. `jobs`: that ended since its start.
    """

    server: Server
    state: State = State.OFF
    since: float = 0.0
    line: deque[Task] = field(default_factory=deque)
    tended: bool = False
    killed: bool = False
    mute: bool = False
    quick: bool = False
    jobs: int = 0
    unchecked: int = 0
    held: list[tuple[Task, Result]] = field(default_factory=list)
    held_since: float = 0.0

    @property
    def alive(self) -> bool:
        """Up, so that it can take a job now or soon."""
        return self.state in (State.FREE, State.BUSY)
