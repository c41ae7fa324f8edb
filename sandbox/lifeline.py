"""A server does not outlive its host: the kernel kills it when the host is gone, however that ended.

A parent-death signal is the wrong tool here: it is tied to the thread that started the server, and hosts start
servers from threads that end. Instead the host holds the writing end of a pipe that it never writes to, the
server has the reading end as standard input, and the kernel sends SIGKILL when the last writer is gone,
whatever the server does at that moment. Children do have a parent-death signal: their server has one thread.
"""

import errno
import fcntl
import os
import stat

_SIGKILL = 9
_STDIN = 0


def hold_to_host():
    """Die when the pipe on standard input closes; it is then out of sight. Raises OSError if it is no pipe."""
    if not stat.S_ISFIFO(os.fstat(_STDIN).st_mode):
        raise OSError(errno.ENOTSUP, "standard input is no pipe of the host's")
    pipe = fcntl.fcntl(_STDIN, fcntl.F_DUPFD, _STDIN + 1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, _STDIN)
    os.close(nothing)
    fcntl.fcntl(pipe, fcntl.F_SETSIG, _SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    return "a server ends with its host"
