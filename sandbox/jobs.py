"""The fork server's loop: a request, a fork, a wait, a reply.

Request: u64 job, u64 CPU nanoseconds, u64 wall nanoseconds, u64 memory bytes, with one descriptor.
Reply: u64 job, i32 wait status (-1: could not fork), u64 CPU microseconds, u64 wall microseconds.
"""

import _signal  # `signal` makes enums of what it is given, on pages that a child must copy
import contextlib
import os
import socket
import struct
import sys
import time

from child import JOB_FD

REQUEST, REPLY = struct.Struct("<QQQQ"), struct.Struct("<QiQQ")


def serve(fork, wait, confine, work, control):
    """Answer requests on `control` until it ends. SIGALRM kills the child that runs."""
    running = 0

    def kill_child(signum, frame):
        if running:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(running, _signal.SIGKILL)

    set_signal, alarm, default = _signal.signal, _signal.SIGALRM, _signal.SIG_DFL
    set_signal(alarm, kill_child)
    receive, send, close, leave, clock = control.recvmsg, control.send, os.close, os._exit, time.monotonic
    unpack, pack, size, space = REQUEST.unpack, REPLY.pack, REQUEST.size, socket.CMSG_SPACE(4)
    while True:
        data, ancillary, _, _ = receive(size, space)
        if not data:
            return
        job, cpu_ns, wall_ns, memory = unpack(data)
        fd = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
        start = clock()
        try:
            pid = fork()
        except OSError:
            close(fd)
            send(pack(job, -1, 0, 0))
            continue
        if pid == 0:
            try:
                set_signal(alarm, default)
                confine(fd, cpu_ns, wall_ns, memory)
                work(JOB_FD)
            finally:
                leave(1)
        running = pid
        close(fd)
        status, cpu_us = wait(pid)
        running = 0
        send(pack(job, status, cpu_us, int((clock() - start) * 1e6)))
