"""A fork server inside the container, as the pool sees it (`azrl.executor.server.Server`)."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Collection

from azrl.errors import UserError
from azrl.executor.container import link
from azrl.executor.container.box import Box
from azrl.executor.container.link import Link, LinkLost, Mailbox
from azrl.executor.guest import ENVIRONMENT
from azrl.executor.layers import Promise
from azrl.executor.server import Ended, ServerLost
from azrl.executor.wire import REPLY, REQUEST, Reply

ARGV = ["-S", "-B", "-P", "-s", "/sandbox/server.py", "0", "3"]


def environment(variant: int) -> dict[str, str]:
    """Nothing of the host's; equal variants have equal hash seeds."""
    return {**ENVIRONMENT, "PYTHONHASHSEED": str(variant + 1)}


class ContainerServer:
    """Numbers and mailbox of one server. What it says is believed no more than what the container may say: it
    can lie about the jobs in it, never harm the host."""

    pid = None
    """It has no process id on this machine."""
    window = 16
    """The relay starts the next job when one ends, so that no way to the host and back lies between two; one
    write carries several, of jobs and of answers."""

    def __init__(self, box: Box, variant: int, promise: Promise, without: Collection[str] = ()):
        self.variant = variant
        self._box, self._promise, self._without = box, promise, without
        self._link: Link | None = None
        self._mail: Mailbox | None = None
        self._number = 0
        self._data = bytearray()
        self._line: deque[tuple[int, int]] = deque()  # job and cap of what is not answered

    def begin(self) -> None:
        self.stop()
        self._link = self._box.link()
        self._mail = Mailbox()
        self._number = self._link.open(self._mail)
        order = {"argv": [*ARGV, ",".join(self._without)], "env": environment(self.variant)}
        try:
            self._link.send(link.START, self._number, json.dumps(order).encode())
        except LinkLost as error:
            raise UserError(f"cannot start a fork server: {error}") from error

    def ready(self) -> bool:
        assert self._mail is not None  # callers begin first
        frame = self._mail.take()
        if frame is None:
            return False
        kind, body = frame
        greeting = body.decode(errors="replace") if kind == link.GREETING else ""
        self._promise.greeted(greeting)
        return True

    def fileno(self) -> int:
        assert self._mail is not None
        return self._mail.fileno()

    def submit(self, request: bytes, payload: bytes, cap: int, more: bool = False) -> None:
        assert self._link is not None
        self._line.append((REQUEST.unpack(request)[0], cap))
        head = link.JOB_HEAD.pack(len(request), cap)
        try:
            self._link.send(link.JOB, self._number, head, request, payload, more=more)
        except LinkLost as error:
            raise ServerLost(str(error)) from error

    def tend(self) -> None:
        """Nothing: the relay does."""

    def receive(self) -> Ended | None:
        assert self._mail is not None
        while frame := self._mail.take():
            kind, body = frame
            if not self._line or kind not in (link.DATA, link.DONE):
                raise ServerLost("the container lost it")
            if kind == link.DATA:
                self._data += body
                if len(self._data) > self._line[0][1]:
                    raise ServerLost("more data than the relay may send")
                continue
            data, self._data = self._data, bytearray()
            return self._ended(body, data, self._line.popleft()[1])
        return None

    def _ended(self, body: bytes, data: bytearray, cap: int) -> Ended:
        if len(body) < link.DONE_HEAD.size:
            raise ServerLost("no such reply")
        flooded, size = link.DONE_HEAD.unpack_from(body)
        start = link.DONE_HEAD.size
        reply, rest = body[start : start + size], body[start + size :]
        if len(reply) != REPLY.size or len(data) + len(rest) > cap:
            raise ServerLost("no such reply")
        return Ended(Reply(*REPLY.unpack(reply)), data + rest, bool(flooded))

    def kill_child(self) -> None:
        if self._line:  # by its number: another may run by the time that the relay reads this
            self._tell(link.CHILD, link.CHILD_BODY.pack(self._line[0][0]))

    def kill(self) -> None:
        self._tell(link.STOP)
        assert self._mail is not None
        self._mail.put(link.STOP, b"")  # a relay that does not answer must not be waited for

    def stop(self) -> None:
        if self._link:
            self._tell(link.STOP)
            self._link.forget(self._number)
            self._link = None
        if self._mail:
            self._mail.close()
            self._mail = None
        self._data = bytearray()
        self._line.clear()

    def _tell(self, kind: int, body: bytes = b"") -> None:
        """A frame to a server that may be gone: then its mailbox says so."""
        assert self._link is not None
        with contextlib.suppress(LinkLost):
            self._link.send(kind, self._number, body)
