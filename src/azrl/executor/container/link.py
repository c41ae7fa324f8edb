"""The stream to the relay in a container (`sandbox/relay.py` has its frames), shared by all servers behind it.

One thread reads and puts each frame into its server's mailbox; any thread writes. A stream that ends, or that
answers no beat for a while, is over for good: every mailbox then says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections import deque
from typing import Any

HEAD, JOB_HEAD, DONE_HEAD = struct.Struct("<IBI"), struct.Struct("<IQ"), struct.Struct("<BH")
CHILD_BODY = struct.Struct("<Q")
START, JOB, CHILD, STOP, BEAT = range(5)
HELLO, GREETING, DATA, DONE, LOST = range(16, 21)
BEAT_SECONDS = 10.0
_SILENT_BEATS = 3  # unanswered, before the stream is given up
_DOCKER_HEAD = struct.Struct(">BxxxI")  # Docker's own framing of what a container writes: 1 output, 2 errors
_STDOUT = 1
_FROM_RELAY = (BEAT, HELLO, GREETING, DATA, DONE, LOST)
_MAX_FRAME = 1 << 26
_MAX_READ = 1 << 18
_MAX_ERRORS = 2000


class LinkLost(Exception):
    """The stream is over; what was asked of the container has no answer."""


class _NoRelay(Exception):
    """What comes is not what a relay writes."""


class Mailbox:
    """Frames for one server, with a descriptor that polls readable while there are any."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, bytes]] = deque()
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._signal

    def put(self, kind: int, body: bytes) -> None:
        """Nothing once closed."""
        with self._lock:
            if self._signal >= 0:
                self._frames.append((kind, body))
                os.eventfd_write(self._signal, 1)

    def take(self) -> tuple[int, bytes] | None:
        """The oldest frame, or None."""
        with self._lock:
            if len(self._frames) <= 1 and self._signal >= 0:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._signal)
            return self._frames.popleft() if self._frames else None

    def close(self) -> None:
        with self._lock:
            if self._signal >= 0:
                os.close(self._signal)
            self._signal = -1
            self._frames.clear()


class Link:
    """A stream that is attached to a container that has not been started yet."""

    def __init__(self, stream: socket.socket):
        self._stream = stream
        stream.settimeout(BEAT_SECONDS)
        self._writing = threading.Lock()
        self._unsent: list[bytes] = []
        self._boxes: dict[int, Mailbox] = {}
        self._last = 0
        self._hello: dict[str, Any] | None = None
        self._greeted = threading.Event()
        self.errors = ""
        """What the container wrote to its standard error, cut: why it ended at once."""
        self.lost = False
        self._reader = threading.Thread(target=self._read, name="azrl-container", daemon=True)
        self._reader.start()

    def hello(self, seconds: float) -> dict[str, Any]:
        """What the relay says of itself when it is up. LinkLost if it ends before, or takes longer."""
        if not self._greeted.wait(seconds) or self._hello is None:
            raise LinkLost(self.errors.strip() or "the container ended at once and said nothing")
        return self._hello

    def open(self, box: Mailbox) -> int:
        """A number for a new server, whose frames go to `box`."""
        with self._writing:
            self._last += 1
            self._boxes[self._last] = box
            if self.lost:
                box.put(LOST, b"")
            return self._last

    def forget(self, number: int) -> None:
        """No more frames of this server."""
        self._boxes.pop(number, None)

    def send(self, kind: int, number: int, *parts: bytes, more: bool = False) -> None:
        """Raises LinkLost. `more`: another frame follows at once, and this one goes with it: each write to the
        stream wakes the daemon, its shim and the relay."""
        with self._writing:
            if self.lost:
                raise LinkLost("the stream to the container has ended")
            self._unsent += [HEAD.pack(sum(map(len, parts)), kind, number), *parts]
            if more:
                return
            data, self._unsent = b"".join(self._unsent), []
            try:
                self._stream.sendall(data)
            except OSError as error:  # half a frame may be out, so nothing can follow
                self._end()
                raise LinkLost(f"the stream to the container broke: {error}") from error

    def close(self) -> None:
        """End the stream, and with it the relay; idempotent."""
        with self._writing:
            self._end()
        if threading.current_thread() is not self._reader:
            self._reader.join()

    def _end(self) -> None:
        if not self.lost:
            self.lost = True
            with contextlib.suppress(OSError):  # it may be gone already
                self._stream.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        try:
            self._receive()
        finally:
            with self._writing:
                self._end()
                for box in self._boxes.values():
                    box.put(LOST, b"")
            self._stream.close()
            self._greeted.set()

    def _receive(self) -> None:
        """Until the stream ends, falls silent or makes no sense."""
        incoming, output, silent = bytearray(), bytearray(), 0
        while silent <= _SILENT_BEATS:
            try:
                data = self._stream.recv(_MAX_READ)
                if not data:
                    return
                silent = 0
                incoming += data
                self._unwrap(incoming, output)
                self._deliver(output)
            except TimeoutError:
                silent += 1
                with contextlib.suppress(LinkLost):  # the next read says so
                    self.send(BEAT, 0)
            except (OSError, _NoRelay):
                return

    def _unwrap(self, incoming: bytearray, output: bytearray) -> None:
        """Take Docker's framing off all that has arrived whole."""
        at = 0
        while len(incoming) - at >= _DOCKER_HEAD.size:
            stream, size = _DOCKER_HEAD.unpack_from(incoming, at)
            end = at + _DOCKER_HEAD.size + size
            if len(incoming) < end:
                break
            part = incoming[at + _DOCKER_HEAD.size : end]
            if stream == _STDOUT:
                output += part
            else:
                self.errors = (self.errors + part.decode(errors="replace"))[:_MAX_ERRORS]
            at = end
        del incoming[:at]

    def _deliver(self, output: bytearray) -> None:
        """Hand out all frames that have arrived whole."""
        at = 0
        while len(output) - at >= HEAD.size:
            size, kind, number = HEAD.unpack_from(output, at)
            if kind not in _FROM_RELAY or size > _MAX_FRAME:
                self.errors = self.errors or f"this is no relay: {bytes(output[at : at + 80])!r}"
                raise _NoRelay
            start = at + HEAD.size
            if len(output) < start + size:
                break
            at = start + size
            if kind == HELLO and not self._greeted.is_set():
                self._hello = json.loads(output[start:at])
                self._greeted.set()
            elif box := self._boxes.get(number):
                box.put(kind, bytes(output[start:at]))
        del output[:at]
