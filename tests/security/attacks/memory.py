"""Using more memory than allowed, and memory that outlives the job."""

from __future__ import annotations

from attacks.model import Attack, native, plain

C = "memory"
# 600 MiB at most: enough to be seen, not enough to hurt.
_GROW = "kept = []\nfor _ in range(600):\n    kept.append({})\nhold(True)"
_SHM = "id = syscall(29, {key}, 8 << 20, 0o1666)\nblock = syscall(30, id, None, 0)\n"

ATTACKS: tuple[Attack, ...] = (
    plain("a bytearray", C, "kept = bytearray(600 << 20)\nhold(True)", "limit"),
    plain("a string", C, "kept = 'x' * (600 << 20)\nhold(True)", "limit"),
    plain("many small objects", C, "kept = []\nwhile len(kept) < 3 * 10**6:\n    kept.append(str(len(kept)) * 5)\nhold(True)", "limit", cpu_s=1.0, wall_s=2.5),
    plain("doubling a list", C, "kept = [0]\nwhile len(kept) < 1 << 26:\n    kept = kept + kept\nhold(True)", "limit", cpu_s=1.0, wall_s=2.5),
    plain("a dict", C, "kept = {}\nfor i in range(4 * 10**6):\n    kept[i] = i\nhold(True)", "limit", cpu_s=1.0, wall_s=2.5),
    plain("an integer", C, "kept = 1 << (600 * 8 << 20)\nhold(True)", "limit"),
    plain("swallow MemoryError", C, "kept = []\nwhile True:\n    try:\n        while len(kept) < 600:\n            kept.append(bytearray(1 << 20))\n        hold(True)\n    except MemoryError:\n        pass", "limit"),
    plain("memory in a __del__ chain", C, "class A:\n    def __del__(self):\n        kept.append(bytearray(1 << 20))\n        if len(kept) < 600:\n            A()\nkept = []\nA()\nhold(len(kept) > 500)", "limit"),
    plain("zip of repeats", C, "import itertools\nkept = list(zip(*[itertools.repeat('x', 10**6)] * 60))\nhold(True)", "limit"),
    plain("format width", C, "kept = f'{1:{600 << 20}}'\nhold(True)", "limit"),
    plain("str.replace", C, "kept = ('a' * 30000).replace('a', 'b' * 20000)\nhold(True)", "limit"),
    plain("deque", C, "import collections\nkept = collections.deque([0] * 8 * 10**7)\nhold(True)", "limit", cpu_s=1.0, wall_s=2.5),
    plain("decimal digits", C, "import decimal\nkept = [decimal.Decimal('1e999999999').quantize(decimal.Decimal(1), context=decimal.Context(prec=10**9))]\nhold(True)", "limit", cpu_s=1.0, wall_s=2.5),
    plain("raise the memory rlimit first", C, "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nkept = bytearray(600 << 20)\nhold(True)", "limit"),
    plain("mmap module", C, "import mmap\nkept = mmap.mmap(-1, 600 << 20)\nkept[::4096] = b'x' * (600 << 8)\nhold(True)", "limit"),
    native("malloc", C, "where = call('malloc', 600 << 20)\nif where:\n    call('memset', where, 1, 600 << 20)\n    hold(True)", "limit"),
    native("mmap by number", C, "where = syscall(9, 0, 600 << 20, 3, 0x22, -1, 0)\nif where > 0:\n    call('memset', where, 1, 600 << 20)\n    hold(True)", "limit"),
    native("brk", C, "now = syscall(12, 0)\nif syscall(12, now + (600 << 20)) > now:\n    call('memset', now, 1, 600 << 20)\n    hold(True)", "limit"),
    native("shared anonymous memory", C, "where = syscall(9, 0, 600 << 20, 3, 0x21, -1, 0)\nif where > 0:\n    call('memset', where, 1, 600 << 20)\n    hold(True)", "limit"),
    native("mlock", C, "block = memory(size=1 << 22)\nhold(syscall(149, block, 1 << 22) == 0)", "state"),
    native("memfd", C, "fd = syscall(319, b'@TOKEN@', 0)\nhold(fd >= 0)", "state"),
    native("memfd_secret", C, "hold(syscall(447, 0) >= 0)", "state"),
    native("System V shared memory that outlives the job", C, _SHM.format(key=0x41A1) + "call('memcpy', block, b'@TOKEN@', 20)", "carried",
           follow="@NATIVE@def f():\n    block = syscall(30, syscall(29, 0x41A1, 8 << 20, 0o1666), None, 0)\n"
                  "    out = memory(size=20)\n    call('memcpy', out, block, 20)\n    return bytes(out)\n"),
    native("System V shared memory, private", C, "syscall(29, 0, 8 << 20, 0o1666)", "left"),
    native("a System V message queue that outlives the job", C,
           "id = syscall(68, 0x41A2, 0o1666)\nsyscall(69, id, (1).to_bytes(8, 'little') + b'@TOKEN@', 20, 0)", "carried",
           follow="@NATIVE@def f():\n    out = memory(size=40)\n    syscall(70, syscall(68, 0x41A2, 0), out, 20, 0, 0x800)\n    return bytes(out)\n"),
    native("System V semaphores that outlive the job", C, "syscall(64, 0x41A3, 4, 0o1666)", "left"),
)
