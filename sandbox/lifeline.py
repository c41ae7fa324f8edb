"""Nothing outlives whom it serves: a child dies with its server, a server with its host, by SIGKILL.

A child has a parent-death signal. For a server that is the wrong tool: the signal is tied to the thread that
started it, and hosts start servers from threads that end. Instead the host holds the writing end of a pipe
that it never writes to, the server has the reading end as standard input, and the kernel sends the signal
when the last writer is gone, whether the server waits, runs or is stopped in a system call.
"""

import errno
import fcntl
import os
import stat

from kernel import failure, libc

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
STDIN = 0


def hold_to_host():
    """Die when the pipe on standard input closes; it is then out of sight. Raises OSError if it is no pipe."""
    if not stat.S_ISFIFO(os.fstat(STDIN).st_mode):
        raise OSError(errno.ENOTSUP, "standard input is no pipe of the host's")
    pipe = fcntl.fcntl(STDIN, fcntl.F_DUPFD, STDIN + 1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, STDIN)
    os.close(nothing)
    fcntl.fcntl(pipe, fcntl.F_SETSIG, _SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    return "a server ends with its host"


def die_with(server):
    """In a child: end when the process `server` does, also if it has already. A change of user undoes it."""
    if libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0):
        raise failure("parent-death signal")
    if os.getppid() != server:
        os._exit(1)
