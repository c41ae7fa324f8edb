"""Forging results: on the job's own descriptor, in the runner, and in another job's answer.

A frame is a claim, so a forged literal is worth no more than what the program could have returned. What would
be a gain: OK for a job that broke a limit or crashed, a text that is no literal, an answer for another job.
"""

from __future__ import annotations

from attacks.model import Attack, native, plain

C = "result channel"
_FRAME = (
    "import os\ndef frame(text, tag=b'K', size=None):\n"
    "    return tag + (len(text) if size is None else size).to_bytes(4, 'little') + text\n"
)


def _forge(name: str, text: str, shows: str = "verdict", **more: object) -> Attack:
    attack = plain(name, C, text, shows, **more)
    return Attack(**{**{n: getattr(attack, n) for n in Attack.__slots__}, "program": _FRAME + attack.program})


FORGED_CLAIM = _forge("a forged claim alone", "os.write(3, frame(b'42'))\nos._exit(0)")

ATTACKS: tuple[Attack, ...] = (
    FORGED_CLAIM,
    _forge("claim, then loop", "os.write(3, frame(b'1'))\nwhile True:\n    pass", never_ok=True),
    _forge("claim, then sleep", "import time\nos.write(3, frame(b'1'))\ntime.sleep(60)", never_ok=True),
    _forge("claim, then stop", "os.write(3, frame(b'1'))\nos.kill(os.getpid(), 19)\nwhile True:\n    pass", never_ok=True),
    _forge("claim, then crash", "os.write(3, frame(b'1'))\nos.abort()", never_ok=True),
    _forge("claim, then leave with 1", "os.write(3, frame(b'1'))\nos._exit(1)", never_ok=True),
    _forge("claim, then take all memory", "os.write(3, frame(b'1'))\nos.write(3, frame(b'', b'E') + bytearray(1 << 34))", never_ok=True),
    _forge("three claims for one input", "os.write(3, frame(b'1') * 3)\nos._exit(0)", never_ok=True),
    _forge("one claim for two inputs", "os.write(3, frame(b'1'))\nos._exit(0)", never_ok=True, inputs=("1", "2")),
    _forge("one claim more", "os.write(3, frame(b'1'))\nreturn 1", never_ok=True),
    _forge("a compile error and a claim", "os.write(3, frame(b'1') + frame(b'Own', b'C'))\nos._exit(0)", never_ok=True),
    _forge("half a frame", "os.write(3, frame(b'1', size=9))\nos._exit(0)", never_ok=True),
    _forge("half a frame, then hang", "os.write(3, frame(b'1', size=9))\nwhile True:\n    pass", never_ok=True),
    _forge("a length of 4 GiB", "os.write(3, frame(b'1', size=(1 << 32) - 1))\nos._exit(0)", never_ok=True),
    _forge("an unknown tag", "os.write(3, frame(b'1', b'Z'))\nos._exit(0)", never_ok=True),
    _forge("an empty frame", "os.write(3, frame(b''))\nos._exit(0)", never_ok=True),
    _forge("nothing at all", "os._exit(0)", never_ok=True),
    _forge("garbage", "os.write(3, bytes(range(256)) * 8)\nos._exit(0)", never_ok=True),
    _forge("text that is not UTF-8", "os.write(3, frame(b'\\xff\\xfe'))\nos._exit(0)", never_ok=True),
    _forge("an error that names a path", "os.write(3, frame(b'/root/x: line 1', b'E'))\nos._exit(0)"),
    _forge("an error with control characters", "os.write(3, frame(b'\\x1b[2J\\n', b'E'))\nos._exit(0)"),
    _forge("an error of a megabyte", "os.write(3, frame(b'E' * (1 << 20), b'E'))\nos._exit(0)"),
    *(
        _forge(f"a claim that is no literal: {text[:24]}", f"os.write(3, frame({text.encode()!r}))\nos._exit(0)", never_ok=True)
        for text in (
            "__import__('os').system('id')", "(1).__class__", "f'{1}'", "lambda: 1", "[x for x in (1,)]", "1 if 1 else 2",
            "nan", "inf", "1e999", "{[]: 1}", "{{1}}", "...", "1; 2", "x", "[" * 200 + "]" * 200, "(" * 5000, "9" * 20000,
            "not True", "-" * 3000 + "1", "[1,2", "'\\x00", "\x00", "1 # c\n2", "*a", "a:=1", "print", "1_", "0777",
        )
    ),
    _forge("a claim beyond the size", "os.write(3, frame(b'\"' + b'x' * 9000 + b'\"'))\nos._exit(0)", never_ok=True),
    _forge("a flood of claims", "while True:\n    os.write(3, frame(b'1') * 9999)", "limit", never_ok=True),
    _forge("a slow flood", "import time\nwhile True:\n    os.write(3, b'x' * 100)\n    time.sleep(0.01)", "limit", never_ok=True),
    _forge("close the channel", "os.close(3)\nreturn 1", never_ok=True),
    _forge("write to every descriptor", "import itertools\nfor fd in itertools.chain(range(0, 3), range(4, 4096)):\n    try:\n        os.write(fd, frame(b'1'))\n    except OSError:\n        pass\nreturn 7", "honest"),
    _forge("read every descriptor", "found = []\nfor fd in [0, *range(4, 4096)]:\n    try:\n        found.append(os.read(fd, 999))\n    except OSError:\n        pass\nreturn found", "secret"),
    plain("flood standard output", C, "while True:\n    print('x' * 65536)", "limit"),
    plain("flood standard error", C, "import sys\nwhile True:\n    sys.stderr.write('x' * 65536)", "limit"),
    plain("answer for the runner's caller", C,
          "import sys\nframe = sys._getframe()\nwhile frame:\n    for value in list(frame.f_locals.values()):\n"
          "        if type(value) is list:\n            value[:] = ['def f(): return 1'] * 9\n"
          "        if type(value) is bytearray:\n            value += b'K\\1\\0\\0\\0' + b'1'\n    frame = frame.f_back\nreturn 1", "verdict"),
    plain("patch the runner's canonicaliser", C,
          "import sys\nframe = sys._getframe()\nwhile frame:\n    if 'canonical' in frame.f_globals:\n"
          "        frame.f_globals['canonical'] = lambda *a: '__import__(\"os\")'\n    frame = frame.f_back\nreturn 1", "verdict", never_ok=True),
    plain("patch os.write", C, "import os\nwrite = os.write\nos.write = lambda fd, data: write(fd, b'K\\1\\0\\0\\0')\nreturn 1", "verdict", never_ok=True),
    native("pass the channel over the channel", C,
           "import struct\nrights = memory(struct.pack('<QiiI4x', 20, 1, 1, 3))\nat = lambda b: call('memcpy', b, b, 0)\n"
           "data = memory(b'x')\nvector = memory(struct.pack('<QQ', at(data), 1))\n"
           "head = memory(struct.pack('<QI4xQQQQI4x', 0, 0, at(vector), 1, at(rights), 24, 0))\n"
           "while syscall(46, 3, head, 0x40) > 0:\n    pass\nhold(True)", "left", never_ok=True),
    native("shut the channel down", C, "syscall(48, 3, 2)\nreturn 1", "honest", never_ok=True),
    native("make the host's end unreadable", C, "syscall(54, 3, 1, 33, memory(b'\\1' + bytes(3)), 4)\nsyscall(54, 3, 1, 7, memory(bytes(4)), 4)\nreturn 1", "honest"),
)
