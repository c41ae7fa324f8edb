"""Ways to end: exits, crashes, stacks that overflow."""

from __future__ import annotations

from attacks.model import Attack, native, plain

C = "leaving and crashing"


def _ends(name: str, text: str, **more: object) -> Attack:
    return plain(name, C, text, "verdict", never_ok=True, **more)


ATTACKS: tuple[Attack, ...] = (
    _ends("sys.exit", "import sys\nsys.exit(0)"),
    _ends("raise SystemExit", "raise SystemExit"),
    _ends("KeyboardInterrupt", "raise KeyboardInterrupt"),
    _ends("GeneratorExit", "raise GeneratorExit"),
    _ends("os._exit(0)", "import os\nos._exit(0)"),
    _ends("os._exit(3)", "import os\nos._exit(3)"),
    _ends("abort", "import os\nos.abort()"),
    *(_ends(f"signal {number} to oneself", f"import os\nos.kill(os.getpid(), {number})\nhold(True)") for number in (2, 6, 9, 11, 14, 15, 24, 31)),
    _ends("exit handler that forges", "import atexit, os, sys\natexit.register(os.write, 3, b'K\\1\\0\\0\\0')\nsys.exit(0)"),
    _ends("recursion", "def g():\n    return g()\ng()"),
    _ends("recursion without a limit", "import sys\nsys.setrecursionlimit(10**9)\ndef g():\n    return g()\ng()", cpu_s=1.0, wall_s=2.5),
    _ends("C recursion by repr", "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6):\n    x = [x]\nrepr(x)", cpu_s=1.0, wall_s=2.5),
    _ends("C recursion by compare", "import sys\nsys.setrecursionlimit(10**9)\na = b = []\nfor _ in range(10**6):\n    a, b = [a], [b]\nreturn a == b", cpu_s=1.0, wall_s=2.5),
    _ends("C recursion by isinstance", "import sys\nsys.setrecursionlimit(10**9)\nt = (int,)\nfor _ in range(10**6):\n    t = (t,)\nreturn isinstance('', t)", cpu_s=1.0, wall_s=2.5),
    _ends("C recursion by hash", "import sys\nsys.setrecursionlimit(10**9)\nt = ()\nfor _ in range(10**6):\n    t = (t,)\nhash(t)\nraise ValueError", cpu_s=1.0, wall_s=2.5),
    _ends("C recursion by json", "import json, sys\nsys.setrecursionlimit(10**9)\nreturn json.loads('[' * 10**6)", cpu_s=1.0, wall_s=2.5),
    _ends("a chain of destructors", "x = None\nfor _ in range(10**6):\n    x = iter([x].__iter__, x)\ndel x\nraise ValueError", cpu_s=1.0, wall_s=2.5),
    _ends("regex recursion", "import re\nre.compile('(' * 20000 + ')' * 20000)", cpu_s=1.0, wall_s=2.5),
    native("read NULL", C, "call('strlen', 0)", "verdict", never_ok=True),
    native("jump to nowhere", C, "class F(C['CFuncPtr']):\n    _flags_ = 1\n    _restype_ = Long\nF(12345)()", "verdict", never_ok=True),
    native("smash the stack", C, "out = memory(size=8)\ncall('qsort', id(None) - 64, 10**6, 8, call('dlsym', 0, b'strcmp'))", "verdict", never_ok=True),
    native("exit by number", C, "syscall(231, 0)", "verdict", never_ok=True),
    native("C exit with handlers", C, "call('exit', 0)", "verdict", never_ok=True),
    native("dump core", C, "syscall(157, 4, 1, 0, 0, 0)\nsyscall(160, 4, memory(b'\\xff' * 16))\nsyscall(80, b'@DIR@')\nimport os\nos.abort()", "file", never_ok=True),
)
