"""Outliving the limits on CPU and wall time."""

from __future__ import annotations

from attacks.model import Attack, native, plain

C = "time"
_SPIN = "\nwhile True:\n    pass"

ATTACKS: tuple[Attack, ...] = (
    plain("endless loop", C, "while True:\n    pass", "limit"),
    plain("long C loop", C, "sum(range(10**13))", "limit"),
    plain("power tower", C, "9**9**9", "limit"),
    plain("factorial", C, "import math\nmath.factorial(10**7)", "limit"),
    plain("backtracking regex", C, "import re\nre.match('(a+)+$', 'a' * 60 + 'b')", "limit"),
    plain("endless iterator in C", C, "import collections, itertools\ncollections.deque(itertools.count(), 0)", "limit"),
    plain("swallow every exception", C, "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass", "limit"),
    plain("ignore every signal", C,
          "import signal\nfor s in range(1, 65):\n    try:\n        signal.signal(s, signal.SIG_IGN)\n"
          "    except (OSError, ValueError):\n        pass" + _SPIN, "limit"),
    plain("block every signal", C, "import signal\nsignal.pthread_sigmask(0, range(1, 65))" + _SPIN, "limit"),
    plain("sleep", C, "import time\ntime.sleep(60)", "limit"),
    plain("wait for a signal", C, "import signal\nsignal.pause()", "limit"),
    plain("wait for input", C, "import os\nreturn os.read(3, 1)", "limit"),
    plain("select for ever", C, "import select\nselect.select([3], [], [])", "limit"),
    plain("deadlock", C, "import _thread\nlock = _thread.allocate_lock()\nlock.acquire()\nlock.acquire()", "limit"),
    plain("stop oneself", C, "import os\nos.kill(os.getpid(), 19)", "limit"),
    plain("hash collisions", C, "m = (1 << 61) - 1\nreturn len({i * m for i in range(10**6)})", "limit"),
    plain("decimal power", C, "import decimal\ndecimal.getcontext().prec = 10**7\nreturn len(str(decimal.Decimal(3) ** 10**7))", "limit"),
    plain("a destructor that never ends", C, "class A:\n    def __del__(self):\n        while True:\n            pass\nA()", "limit"),
    plain("an exit handler that never ends", C, "import atexit, sys\natexit.register(hold, True)\nsys.exit()", "limit"),
    plain("a metaclass that never ends", C, "class M(type):\n    def __call__(cls):\n        while True:\n            pass\nclass A(metaclass=M):\n    pass\nA()", "limit"),
    Attack("loop at module level", C, "while True:\n    pass\ndef f():\n    return 1\n", "limit"),
    plain("cancel the interval timers", C, "import signal\nfor which in (0, 1, 2):\n    signal.setitimer(which, 0)" + _SPIN, "limit"),
    plain("raise the CPU rlimit", C, "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (99, 99))" + _SPIN, "limit"),
    native("delete the POSIX timers", C, "for id in range(64):\n    syscall(226, id)" + _SPIN, "limit"),
    native("put the POSIX timers off", C, "when = memory(bytes(16) + (999).to_bytes(8, 'little') + bytes(8))\n"
           "for id in range(64):\n    syscall(223, id, 0, when, None)" + _SPIN, "limit"),
    native("SIGKILL timers made harmless by a new session", C, "syscall(112)\nsyscall(157, 1, 0, 0, 0, 0)" + _SPIN, "limit"),
    native("sleep in the kernel", C, "syscall(35, memory((99).to_bytes(8, 'little') + bytes(8)), None)", "limit"),
    native("futex wait", C, "syscall(202, memory(bytes(4)), 0, 0, None, None, 0)", "limit"),
    native("rt_sigsuspend with all signals blocked", C, "syscall(130, memory(b'\\xff' * 8), 8)", "limit"),
    native("pause", C, "syscall(34)", "limit"),
    native("lower the own priority to starve the watcher", C, "syscall(144, 0, 5, memory(bytes(4)))\nsyscall(141, 0, 0, 19)" + _SPIN, "limit"),
    plain("many short sleeps", C, "import time\nwhile True:\n    time.sleep(0.001)", "limit"),
    plain("sort with a comparison that never agrees", C,
          "class A:\n    def __lt__(self, other):\n        while True:\n            pass\nsorted([A(), A()])", "limit"),
)
