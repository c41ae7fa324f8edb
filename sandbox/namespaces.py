"""Namespaces and an empty root directory, once a server, inherited by every child at no cost.

Network, IPC and host name are unshared: a network without an interface, no System V or POSIX queues of
others. Root does it directly; an ordinary user needs a user namespace for it, which many containers and some
distributions refuse. The user namespace maps nobody, so inside it no identity can be taken on.

There is no process namespace: its first process would have to live beside every server, and what it hides is
out of reach already (no call that names a process passes the filter). There is no mount namespace either: the
root directory becomes a directory that was removed, where nothing can be found or made.
"""

import contextlib
import ctypes
import errno
import os

from kernel import failure, libc

_USER, _NETWORK, _IPC, _HOST_NAME = 0x10000000, 0x40000000, 0x08000000, 0x04000000
_PLACES = ("/tmp", "/dev/shm", "/var/tmp", "/run")


def unshare(with_user):
    """Leave the host's network, IPC and host name; returns what was left. Raises OSError if refused."""
    flags = _NETWORK | _IPC | _HOST_NAME | (_USER if with_user else 0)
    if libc.unshare(ctypes.c_int(flags)):
        raise failure("unshare")
    return "network, IPC, host name" + (", user" if with_user else "")


def enter_removed_directory():
    """Make a directory, stand in it and remove it. Before a user namespace, where nothing can be made."""
    for place in (*_PLACES, os.getcwd()):
        path = f"{place}/.azrl-{os.getpid()}-{os.urandom(8).hex()}"
        with contextlib.suppress(OSError):
            os.mkdir(path, 0o700)
            break
    else:
        raise OSError(errno.EROFS, f"no directory can be made in any of {', '.join(_PLACES)}")
    try:
        os.chdir(path)
    finally:
        os.rmdir(path)


def make_root():
    """Make the directory that this process stands in its root. Raises OSError without CAP_SYS_CHROOT."""
    os.chroot(".")
    if os.listdir("/"):
        raise OSError(errno.ENOTEMPTY, "the new root directory is not empty")
    return "a removed directory"
