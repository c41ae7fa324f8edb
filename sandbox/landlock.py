"""Landlock: no file system, no TCP, no signal and no abstract socket beyond this process and its children.

An unprivileged Linux security module (kernel 5.13 and newer, where it is switched on). A ruleset that handles
every right and allows none is deny-all; restricting the server once covers every child. What it does not
know: UDP, metadata such as stat, descriptors that are open already.
"""

import ctypes
import errno
import os
import struct

from kernel import syscall

_GET_VERSION = 1
_FIRST_RIGHTS = 13  # rights on files in ABI 1; each later ABI that has more adds one bit
_MORE_RIGHTS = ((2, 1 << 13), (3, 1 << 14), (5, 1 << 15))  # refer, truncate, ioctl on devices
_TCP_ABI, _SCOPE_ABI = 4, 6
_BIND_AND_CONNECT = _SOCKETS_AND_SIGNALS = 0b11
_NO_FLAGS = ctypes.c_uint(0)


def deny_all():
    """Restrict this process for good; returns what is denied. Raises OSError where the kernel cannot."""
    abi = syscall("landlock_create_ruleset", None, ctypes.c_size_t(0), ctypes.c_uint(_GET_VERSION))
    files = (1 << _FIRST_RIGHTS) - 1
    for since, right in _MORE_RIGHTS:
        files |= right if abi >= since else 0
    rules = [files]
    if abi >= _TCP_ABI:
        rules.append(_BIND_AND_CONNECT)
    if abi >= _SCOPE_ABI:
        rules.append(_SOCKETS_AND_SIGNALS)
    attribute = ctypes.create_string_buffer(struct.pack(f"<{len(rules)}Q", *rules), 8 * len(rules))
    ruleset = syscall("landlock_create_ruleset", attribute, ctypes.c_size_t(8 * len(rules)), _NO_FLAGS)
    try:
        syscall("landlock_restrict_self", ctypes.c_int(ruleset), _NO_FLAGS)
    finally:
        os.close(ruleset)
    try:
        os.listdir("/")
    except PermissionError:
        pass
    else:
        raise OSError(errno.ENOTSUP, "the ruleset is in force, yet the root directory can be read")
    denied = ("files", "TCP", "signals and abstract sockets")[: len(rules)]
    return f"ABI {abi}: {', '.join(denied)}"
