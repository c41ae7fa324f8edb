"""A fork server inside the container, as the pool sees it (`azrl.executor.server.Server`)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection

from azrl.errors import UserError
from azrl.executor.container import link
from azrl.executor.container.box import Box
from azrl.executor.container.link import Link, LinkLost, Mailbox
from azrl.executor.layers import Layers, Promise
from azrl.executor.server import Ended, ServerLost
from azrl.executor.wire import REPLY, Reply

ARGV = ["-S", "-B", "-P", "-s", "/sandbox/server.py", "0", "3"]


def environment(variant: int) -> dict[str, str]:
    """Nothing of the host's; equal variants have equal hash seeds."""
    return {"PYTHONHASHSEED": str(variant + 1), "TZ": "UTC", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


class ContainerServer:
    """Numbers and mailbox of one server. What it says is believed no more than what the container may say: it
    can lie about the jobs in it, never harm the host."""

    pid = None
    """It has no process id on this machine."""

    def __init__(self, box: Box, variant: int, promise: Promise, without: Collection[str] = ()):
        self.variant = variant
        self._box, self._promise, self._without = box, promise, without
        self._link: Link | None = None
        self._mail: Mailbox | None = None
        self._number = 0
        self._data, self._cap = bytearray(), 0
        self._running = False

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
        if not greeting.startswith("ready "):
            reason = greeting.removeprefix("failed ") or "it ended at once"
            raise UserError(f"the fork server did not start: {reason}")
        self._promise.take(Layers.of_greeting(greeting.removeprefix("ready ")))
        return True

    def fileno(self) -> int:
        assert self._mail is not None
        return self._mail.fileno()

    def submit(self, request: bytes, payload: bytes, cap: int) -> None:
        assert self._link is not None
        self._data, self._cap, self._running = bytearray(), cap, True
        try:
            self._link.send(link.JOB, self._number, link.JOB_HEAD.pack(len(request), cap), request, payload)
        except LinkLost as error:
            raise ServerLost(str(error)) from error

    def tend(self) -> None:
        """Nothing: the relay does."""

    def receive(self) -> Ended | None:
        assert self._mail is not None
        while frame := self._mail.take():
            kind, body = frame
            if not self._running or kind not in (link.DATA, link.DONE):
                raise ServerLost("the container lost it")
            if kind == link.DATA:
                self._data += body
                if len(self._data) > self._cap:
                    raise ServerLost("more data than the relay may send")
                continue
            self._running = False
            return self._ended(body)
        return None

    def _ended(self, body: bytes) -> Ended:
        if len(body) < link.DONE_HEAD.size:
            raise ServerLost("no such reply")
        flooded, size = link.DONE_HEAD.unpack_from(body)
        start = link.DONE_HEAD.size
        reply, rest = body[start : start + size], body[start + size :]
        if len(reply) != REPLY.size or len(self._data) + len(rest) > self._cap:
            raise ServerLost("no such reply")
        return Ended(Reply(*REPLY.unpack(reply)), self._data + rest, bool(flooded))

    def kill_child(self) -> None:
        self._tell(link.CHILD)

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
        self._running = False

    def _tell(self, kind: int) -> None:
        """A frame to a server that may be gone: then its mailbox says so."""
        assert self._link is not None
        with contextlib.suppress(LinkLost):
            self._link.send(kind, self._number)
