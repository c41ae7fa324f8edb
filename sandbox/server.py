"""The fork server: a warm interpreter that forks once for each job and reports how the child ended.

Started as `python -S -B -P -s server.py UID CONTROL [WITHOUT]`: the user for children (0: the server's own), a
SEQPACKET socket's descriptor, and layers to leave out, with commas (see jail.py). Standard input is the
reading end of a pipe that the host keeps open. The server never sees a job: a request is four numbers and a
descriptor, the child reads the job from that descriptor, and the server holds no data of any job that a later
child could find in its memory. One job at a time. It ends when the control socket does, and with the host.
SIGALRM from the host means: kill the child now.

Requests and replies: jobs.py.
Greeting: `ready` and, as JSON, {"active": {layer: detail}, "missing": {layer: reason}}; or `failed` and why.
"""

import functools
import gc
import importlib
import json
import os
import signal
import socket
import sys

CONTROL_FD = 3
MOST_FDS = 1 << 16

# Children cannot open files, so what is not here cannot be imported. A codec that is missing would change a
# result without an error, hence all of `encodings` that takes no great table.
PRELOAD = (
    "abc",
    "bisect",
    "cmath",
    "collections",
    "collections.abc",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "numbers",
    "operator",
    "random",
    "re",
    "statistics",
    "string",
    "struct",
    "textwrap",
    "types",
    "typing",
    "unicodedata",
    "encodings.ascii",
    "encodings.latin_1",
    "encodings.utf_8",
    "encodings.utf_8_sig",
    "encodings.utf_16",
    "encodings.utf_16_le",
    "encodings.utf_16_be",
    "encodings.utf_32",
    "encodings.utf_32_le",
    "encodings.utf_32_be",
    "encodings.cp1252",
    "encodings.cp437",
    "encodings.idna",
    "encodings.punycode",
    "encodings.unicode_escape",
    "encodings.raw_unicode_escape",
    "encodings.rot_13",
    "encodings.hex_codec",
    "encodings.base64_codec",
    "encodings.charmap",
)

HIDDEN = ("ctypes", "_ctypes", "fcntl", "importlib", "socket", "_socket")  # not `resource`: os.wait4 needs it


def prepare(uid, without=()):
    """Import all that children need, then give up what they must not have. Returns serve(control)
    and the report on layers."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, here)
    sys.modules["_hashlib"] = None  # hashlib has its own code for what is guaranteed; OpenSSL stays out
    for name in (*PRELOAD, *HIDDEN):
        importlib.import_module(name)
    del sys.modules["_hashlib"]
    gc.collect()
    gc.disable()
    fill_holes = importlib.import_module("settle").fill_holes
    kept = fill_holes()
    child, jailer, jobs, runner = map(importlib.import_module, ("child", "jail", "jobs", "runner"))
    jail = jailer.Jail(uid, without)
    confine = jail.enter()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    here_end, far_end = socket.socketpair()
    with here_end, far_end:
        runner.warm(here_end.fileno(), far_end.fileno())
    for name, module in tuple(sys.modules.items()):
        ours = (getattr(module, "__file__", None) or "").startswith(here) and name != "__main__"
        if ours or name in HIDDEN:
            del sys.modules[name]
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder.__name__ != "PathFinder"]
    for paths in (sys.path, sys.argv, sys.orig_argv):
        paths.clear()
    runner.kept = kept
    serve = functools.partial(jobs.serve, child.fork, child.waiting(), confine, runner.child)
    gc.collect()
    kept.extend(fill_holes())
    gc.freeze()
    return serve, {"active": jail.active, "missing": jail.missing}


def main():
    """Greet, then serve."""
    uid, inherited = int(sys.argv[1]), int(sys.argv[2])
    without = "".join(sys.argv[3:]).split(",")
    if inherited != CONTROL_FD:  # a low number, so that a child closes all it must with one short range
        os.dup2(inherited, CONTROL_FD)
    os.closerange(CONTROL_FD + 1, MOST_FDS)
    control = socket.socket(fileno=CONTROL_FD)
    try:
        serve, layers = prepare(uid, [name for name in without if name])
    except Exception as error:
        control.send(f"failed {type(error).__name__}: {error}".encode()[:900])
        return
    control.send(b"ready " + json.dumps(layers).encode())
    serve(control)


if __name__ == "__main__":
    main()
