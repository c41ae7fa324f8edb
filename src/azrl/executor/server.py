"""The host's handle on one fork server of `sandbox/server.py`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from azrl.errors import UserError
from azrl.executor.guest import guest_file
from azrl.executor.wire import REPLY, Reply

_START_SECONDS = 60.0
_NOBODY = 65534


class ServerLost(Exception):
    """The server is gone; whatever it was doing has no answer."""


class ForkServer:
    """One warm interpreter, started at first use and again after a loss. Used by one thread at a time.

    Servers of one variant share a hash seed; those of different variants do not. When this process is root,
    each server's children have a user of their own and cannot signal those of another server.
    """

    def __init__(self, variant: int, slot: int):
        self.variant = variant
        self.uid = _NOBODY - slot if os.geteuid() == 0 else 0
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running server, or None."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Make sure that it runs. Raises UserError with the server's own reason if it cannot."""
        if self._process and self._process.poll() is None:
            return
        self.stop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = _spawn(theirs, self.uid, self.variant)
            except OSError as error:
                ours.close()
                raise UserError(f"cannot start a fork server: {error}") from error
        self._control = ours
        ours.settimeout(_START_SECONDS)
        try:
            greeting = ours.recv(1024).decode(errors="replace")
        except OSError as error:
            greeting = f"failed {type(error).__name__}: no greeting"
        if greeting != "ready":
            self.stop()
            raise UserError(
                f"the fork server did not start: {greeting.removeprefix('failed ') or 'it ended at once'}"
            )
        ours.setblocking(False)

    def fileno(self) -> int:
        """Descriptor that is readable when a reply is there or the server is gone."""
        assert self._control is not None  # callers start it first
        return self._control.fileno()

    def submit(self, request: bytes, job_fd: int) -> None:
        """Ask for a child that serves the job on `job_fd`. Raises ServerLost."""
        assert self._control is not None
        try:
            socket.send_fds(self._control, [request], [job_fd])
        except OSError as error:
            raise ServerLost(type(error).__name__) from error

    def reply(self) -> Reply | None:
        """The reply that is there, or None. Raises ServerLost."""
        assert self._control is not None
        try:
            data = self._control.recv(REPLY.size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ServerLost(type(error).__name__) from error
        if len(data) != REPLY.size:
            raise ServerLost("end of stream")
        return Reply(*REPLY.unpack(data))

    def kill_child(self) -> None:
        """Have the server kill the child that it waits for, if any."""
        assert self._process is not None
        self._process.send_signal(signal.SIGALRM)

    def stop_process(self) -> None:
        """Kill a server that does not answer; its control socket then reports the loss."""
        assert self._process is not None
        self._process.kill()

    def stop(self) -> None:
        """Kill the server, and with it its child; safe to call at any time."""
        if self._control:
            self._control.close()
            self._control = None
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def _spawn(control: socket.socket, uid: int, variant: int) -> subprocess.Popen[bytes]:
    """A clean environment, nothing on the standard streams, and the control socket by number."""
    script = str(guest_file("server.py"))
    environment = {"PYTHONHASHSEED": str(variant + 1), "TZ": "UTC", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    return subprocess.Popen(
        [sys.executable, "-S", "-B", "-P", "-s", script, str(uid), str(control.fileno())],
        env=environment,
        pass_fds=(control.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
