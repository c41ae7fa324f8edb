"""Resource limits that a server can bear itself and every child inherits."""

import resource

_STACK = 8 << 20
_INHERITED = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_MEMLOCK, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_STACK, _STACK),
)


def confine_server():
    """Set them for good; returns what children are held to by these and their own limits."""
    for which, value in _INHERITED:
        hard = most(which)
        value = value if hard is None else min(value, hard)
        resource.setrlimit(which, (value, value))
    return "no file, no process, no core, no locked memory"


def most(which):
    """The hard limit, or None where there is none."""
    hard = resource.getrlimit(which)[1]
    return None if hard == resource.RLIM_INFINITY else hard
