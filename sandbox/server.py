"""The fork server: a warm interpreter that forks once for each job and reports how the child ended.

Started as `python -S -B -P -s server.py UID CONTROL [WITHOUT]`: the user for children (0: the server's own), a
SEQPACKET socket's descriptor, and layers to leave out, with commas (see jail.py). Standard input is the
reading end of a pipe that the host keeps open. The server never sees a job: a request is four numbers and a
descriptor, the child reads the job from that descriptor, and the server holds no data of any job that a later
child could find in its memory. One job at a time. It ends when the control socket does, and with the host.
SIGALRM from the host means: kill the child now.

Request: u64 job, u64 CPU nanoseconds, u64 wall nanoseconds, u64 memory bytes, with one descriptor.
Reply: u64 job, i32 wait status (-1: could not fork), u64 CPU microseconds, u64 wall microseconds.
Greeting: `ready` and, as JSON, {"active": {layer: detail}, "missing": {layer: reason}}; or `failed` and why.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
import time

CONTROL_FD = 3
JOB_FD = 3  # in a child, the job's socket over it
MOST_FDS = 1 << 16
REQUEST, REPLY = struct.Struct("<QQQQ"), struct.Struct("<QiQQ")

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


def serve(control, fork, confine, runner):
    """Answer requests until the control socket ends."""
    running = 0

    def kill_child(signum, frame):
        if running:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(running, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill_child)
    space = socket.CMSG_SPACE(4)
    while True:
        data, ancillary, _, _ = control.recvmsg(REQUEST.size, space)
        if not data:
            return
        job, cpu_ns, wall_ns, memory = REQUEST.unpack(data)
        fd = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
        start = time.monotonic()
        try:
            pid = fork()
        except OSError:
            os.close(fd)
            control.send(REPLY.pack(job, -1, 0, 0))
            continue
        if pid == 0:
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                confine(fd, cpu_ns, wall_ns, memory)
                runner.child(JOB_FD)
            finally:
                os._exit(1)
        running = pid
        os.close(fd)
        _, status, usage = os.wait4(pid, 0)
        running = 0
        cpu_us = int((usage.ru_utime + usage.ru_stime) * 1e6)
        control.send(REPLY.pack(job, status, cpu_us, int((time.monotonic() - start) * 1e6)))


def prepare(uid, without=()):
    """Import all that children need, then give up what they must not have. Returns what `serve`
    needs, and the report on layers."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, here)
    child, jailer, runner = map(importlib.import_module, ("child", "jail", "runner"))
    sys.modules["_hashlib"] = None  # hashlib has its own code for what is guaranteed; OpenSSL stays out
    for name in PRELOAD:
        importlib.import_module(name)
    del sys.modules["_hashlib"]
    jail = jailer.Jail(uid, without)
    confine = jail.enter()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runner.warm()
    for name, module in tuple(sys.modules.items()):
        ours = (getattr(module, "__file__", None) or "").startswith(here) and name != "__main__"
        if ours or name in HIDDEN:
            del sys.modules[name]
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder.__name__ != "PathFinder"]
    for paths in (sys.path, sys.argv, sys.orig_argv):
        paths.clear()
    gc.collect()
    gc.disable()
    gc.freeze()
    return (child.fork, confine, runner), {"active": jail.active, "missing": jail.missing}


def main():
    """Greet, then serve."""
    uid, inherited = int(sys.argv[1]), int(sys.argv[2])
    without = "".join(sys.argv[3:]).split(",")
    if inherited != CONTROL_FD:  # a low number, so that a child closes all it must with one short range
        os.dup2(inherited, CONTROL_FD)
    os.closerange(CONTROL_FD + 1, MOST_FDS)
    control = socket.socket(fileno=CONTROL_FD)
    try:
        tools, layers = prepare(uid, [name for name in without if name])
    except Exception as error:
        control.send(f"failed {type(error).__name__}: {error}".encode()[:900])
        return
    control.send(b"ready " + json.dumps(layers).encode())
    serve(control, *tools)


if __name__ == "__main__":
    main()
