"""The host's handle on one fork server of `sandbox/server.py` on this machine."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Collection

from azrl.errors import UserError
from azrl.executor.guest import ENVIRONMENT, guest_file
from azrl.executor.layers import Promise
from azrl.executor.server import ServerLost
from azrl.executor.wire import REPLY, Ended, Reply

_NOBODY = 65534
_FLAGS = ("-S", "-B", "-P", "-s")
_MAX_GREETING = 1 << 16
_UIDS = 500
_MAX_READ = 1 << 16
_MORE, _NOTHING_YET, _END = range(3)


class ForkServer:
    """A `Server`: a process, a control socket to it, and a socket for the job that its child serves.

    Small answers lie in the job's socket when the child is dead and are read then; `tend` has them read as they
    come. When this process is root, each server's children have a user of their own and cannot signal those of
    another server. It does not start with less than `promise`; `without` leaves layers out, for tests and
    measurements.
    """

    window = 1

    def __init__(
        self, variant: int, slot: int, promise: Promise | None = None, without: Collection[str] = ()
    ):
        self.variant = variant
        self._promise, self._without = promise or Promise(), without
        self.uid = _NOBODY - slot % _UIDS if os.geteuid() == 0 else 0
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._job: socket.socket | None = None
        self._epoll: select.epoll | None = None
        self._watched = self._flooded = False
        self._unsent, self._data, self._cap = memoryview(b""), bytearray(), 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def begin(self) -> None:
        self.stop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = _spawn(theirs, self.uid, self.variant, self._without)
            except OSError as error:
                ours.close()
                raise UserError(f"cannot start a fork server: {error}") from error
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._control = ours
        self._epoll = select.epoll()
        self._epoll.register(ours, select.EPOLLIN)

    def ready(self) -> bool:
        assert self._control is not None  # callers begin first
        try:
            greeting = self._control.recv(_MAX_GREETING).decode(errors="replace")
        except BlockingIOError:
            return False
        except OSError as error:
            greeting = f"failed {type(error).__name__}: no greeting"
        self._promise.greeted(greeting)
        return True

    def fileno(self) -> int:
        assert self._epoll is not None
        return self._epoll.fileno()

    def submit(self, request: bytes, payload: bytes, cap: int, more: bool = False) -> None:
        assert self._control is not None
        ours, theirs = socket.socketpair()
        self._job, self._cap, self._data = ours, cap, bytearray()
        self._watched = self._flooded = False
        with theirs:
            try:
                ours.setblocking(False)
                self._unsent = memoryview(payload)[ours.send(payload) :]
                socket.send_fds(self._control, [request], [theirs.fileno()])
            except OSError as error:
                self._land()
                raise ServerLost(type(error).__name__) from error
        if self._unsent:
            self.tend()

    def tend(self) -> None:
        if self._job is not None and not self._watched:
            assert self._epoll is not None
            self._watched = True
            self._epoll.register(self._job, select.EPOLLIN | (select.EPOLLOUT if self._unsent else 0))

    def receive(self) -> Ended | None:
        assert self._control is not None
        if self._watched:
            self._pump()
        try:
            data = self._control.recv(REPLY.size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ServerLost(type(error).__name__) from error
        if len(data) != REPLY.size or self._job is None:
            raise ServerLost("end of stream" if not data else "no such reply")
        while not self._flooded and self._read() is _MORE:
            pass
        ended = Ended(Reply(*REPLY.unpack(data)), self._data, self._flooded)
        self._land()
        return ended

    def kill_child(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGALRM)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    def stop(self) -> None:
        self._land()
        if self._epoll:
            self._epoll.close()
            self._epoll = None
        if self._control:
            self._control.close()
            self._control = None
        if self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def _pump(self) -> None:
        """Send what is unsent and read what is there, once; at the end of the stream watch no longer."""
        assert self._job is not None
        assert self._epoll is not None
        if self._unsent:
            try:
                self._unsent = self._unsent[self._job.send(self._unsent) :]
            except BlockingIOError:
                pass
            except OSError:  # the child has closed its end; its server will say how it ended
                self._unsent = memoryview(b"")
            if not self._unsent:
                self._epoll.modify(self._job, select.EPOLLIN)
        if self._read() is _END:
            self._epoll.unregister(self._job)
            self._watched = False

    def _read(self) -> int:
        """Read once. Past the cap the child is killed, and what else it wrote is of no interest."""
        assert self._job is not None
        try:
            part = self._job.recv(_MAX_READ)
        except BlockingIOError:
            return _NOTHING_YET
        except OSError:  # closed with our data unread
            return _END
        self._data += part
        if len(self._data) > self._cap:
            self._flooded = True
            self.kill_child()
        return _MORE if part and not self._flooded else _END

    def _land(self) -> None:
        if self._job is not None:
            self._job.close()
            self._job = None
            self._watched = False


def _spawn(
    control: socket.socket, uid: int, variant: int, without: Collection[str]
) -> subprocess.Popen[bytes]:
    """A clean environment, the control socket by number, and a pipe that tells the server that we are gone."""
    script = str(guest_file("server.py"))
    environment = {**ENVIRONMENT, "PYTHONHASHSEED": str(variant + 1)}
    return subprocess.Popen(
        [sys.executable, *_FLAGS, script, str(uid), str(control.fileno()), ",".join(without)],
        env=environment,
        pass_fds=(control.fileno(),),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
