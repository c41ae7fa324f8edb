"""Gives up what a process may do: new privileges by execution, groups, capabilities, being looked at."""

import ctypes
import errno
import os
import struct

from kernel import failure, libc, quick

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_VERSION_3 = 0x20080522
_KILL, _SETUID = 5, 7  # bits: to end a child of another user, to make it one


def no_new_privileges():
    """Execution can no longer raise privileges, and filters may be installed."""
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise failure("no_new_privs")


def undumpable():
    """No core, and /proc entries that the same user may not open or trace. A change of user undoes it."""
    if quick.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError("cannot become undumpable")


def leave_groups(uid):
    """As root: no groups but `uid`'s own. The server itself stays root, out of its children's reach."""
    if not uid:
        raise OSError(errno.EPERM, "the host is no root user, so programs run as the user that it is")
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    return f"uid {uid}"


def drop_capabilities(changes_user):
    """Keep no capability but, for a server whose children are of another user, the two that this takes."""
    header = ctypes.create_string_buffer(struct.pack("<Ii", _VERSION_3, 0), 8)
    sets = ctypes.create_string_buffer(24)  # two of: effective, permitted, inheritable
    if libc.capget(header, sets):
        raise failure("capget")
    permitted = struct.unpack_from("<I", sets, 4)[0]
    kept = permitted & (1 << _KILL | 1 << _SETUID) if changes_user else 0
    struct.pack_into("<6I", sets, 0, kept, kept, 0, 0, 0, 0)
    if libc.capset(header, sets):
        raise failure("capset")
    return "none in a child" if changes_user else "none"
