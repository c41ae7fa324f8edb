"""Spoiling what runs next: builtins, modules, caches and native state, in the server or for sibling inputs."""

from __future__ import annotations

from attacks.model import Attack, native, plain

C = "poisoning"

ATTACKS: tuple[Attack, ...] = (
    plain("builtins", C, "import builtins\nfor name in ('sorted', 'len', 'repr', 'type', 'compile', 'eval', 'exec', 'callable', 'print'):\n    setattr(builtins, name, None)\nreturn 1", "honest"),
    plain("clear sys.modules", C, "import sys\nsys.modules.clear()\nreturn 1", "honest"),
    plain("poison sys.modules", C, "import sys\nfor name in ('math', 'json', 're', 'os'):\n    sys.modules[name] = None\nreturn 1", "honest"),
    plain("poison math", C, "import math\nmath.pi, math.sqrt = 3, None\nreturn 1", "honest"),
    plain("patch os.fork, os.wait4 and os._exit", C, "import os\nos.fork = os.wait4 = os._exit = os.read = os.write = lambda *a: 0\nreturn 1", "honest"),
    plain("patch the server's frame", C, "import sys\nframe = sys._getframe()\nwhile frame:\n    frame.f_globals['__builtins__'] = {}\n    frame.f_globals.clear()\n    frame = frame.f_back\nreturn 1", "honest"),
    plain("recursion limit", C, "import sys\nsys.setrecursionlimit(50)\nreturn 1", "honest"),
    plain("seed and decimal context", C, "import random, decimal\nrandom.seed(1)\ndecimal.getcontext().prec = 1\nreturn 1", "honest"),
    plain("settrace, setprofile and an audit hook", C, "import sys\nsys.settrace(lambda *a: 1 / 0)\nsys.setprofile(lambda *a: None)\nsys.addaudithook(lambda *a: None)\nreturn 1", "honest"),
    plain("switch interval, dlopen flags and int digits", C, "import sys\nsys.setswitchinterval(99)\nsys.setdlopenflags(1)\nsys.set_int_max_str_digits(640)\nreturn 1", "honest"),
    plain("meta path and hooks", C, "import sys\nsys.meta_path.insert(0, lambda *a: None)\nsys.path_hooks.clear()\nsys.excepthook = sys.unraisablehook = sys.displayhook = None\nreturn 1", "honest"),
    plain("warnings as errors and regex cache", C, "import re, sys\nsys.warnoptions.append('error')\nre._cache.clear()\nre.compile = None\nreturn 1", "honest"),
    plain("codec error handlers", C, "import codecs\ncodecs.register_error('strict', lambda e: ('?', e.end))\ncodecs.register(lambda name: None)\nreturn 1", "honest"),
    plain("a signal handler", C, "import signal\nsignal.signal(signal.SIGTERM, lambda *a: None)\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\nreturn 1", "honest"),
    plain("umask, niceness and locale", C, "import os, sys\nos.umask(0)\nos.nice(19)\nimport _locale\n_locale.setlocale(_locale.LC_ALL, 'C')\nreturn 1", "honest"),
    plain("type caches and abc registries", C, "import collections.abc as abc\nabc.Callable.register(int)\nabc.Mapping.register(list)\ntype.__subclasses__(object).clear()\nreturn 1", "honest"),
    plain("gc thresholds and callbacks", C, "import gc\ngc.set_threshold(1)\ngc.callbacks.append(lambda *a: 1 / 0)\ngc.set_debug(2)\nreturn 1", "honest"),
    native("corrupt the cache of small integers", C, "call('memset', id(7) + 24, 9, 1)\nreturn 1", "honest"),
    native("corrupt None", C, "call('memset', id(None) + 8, 0, 8)\nreturn 1", "honest"),
    native("flip True and False", C, "call('memset', id(True) + 24, 0, 1)\ncall('memset', id(False) + 24, 1, 1)\nreturn 1", "honest"),
    native("overwrite the type of str", C, "call('memset', id(str) + 16, 0, 300)\nreturn 1", "honest"),
    native("overwrite interned names", C, "call('memset', id('sorted') + 48, 120, 6)\nreturn 1", "honest"),
    native("patch libc's code", C, "where = call('dlsym', 0, b'memchr')\nif syscall(10, where & ~4095, 4096, 7) == 0:\n    call('memset', where, 0xc3, 1)\nreturn 1", "honest"),
    native("write over read-only data", C, "where = call('dlsym', 0, b'Py_Version') & ~4095\nhold(syscall(10, where, 4096, 7) == 0)", "state"),
    native("change the parent's memory by a shared mapping", C, "where = id(None) & ~4095\nsyscall(9, where, 4096, 3, 0x31, -1, 0)\nreturn 1", "honest"),
    Attack("inputs of the same program spoil one another", C, "import builtins\ndef f(x):\n    real = builtins.len\n    if x == 1:\n        builtins.len = lambda y: 99\n    return len([x])\n", "honest", inputs=("1", "2")),
)
