"""Secrets of the host, the server and other jobs: in memory, in the environment, in /proc."""

from __future__ import annotations

from attacks.model import Attack, native, plain

C = "introspection"
P = "/proc"
_WALK = (
    "import sys\nfound, frame = [], sys._getframe()\nwhile frame:\n"
    "    for space in (frame.f_locals, frame.f_globals):\n        for key, value in list(space.items()):\n"
    "            if type(value) in (str, bytes, bytearray, list, tuple, dict):\n                found.append(repr(value)[:2000])\n"
    "    frame = frame.f_back\nreturn [text for text in found if 'secret' in text][:3]"
)
_MAPS = (
    "text = open('/proc/{0}/maps').read()\nfound = []\nwith open('/proc/{0}/mem', 'rb', 0) as memory:\n"
    "    for line in text.splitlines():\n        if ' rw-p ' in line:\n"
    "            low, high = (int(x, 16) for x in line.split()[0].split('-'))\n            memory.seek(low)\n"
    "            data = memory.read(high - low)\n            at = data.find(b'secret')\n"
    "            found.append(data[at:at + 60])\nreturn found"
)

ATTACKS: tuple[Attack, ...] = (
    plain("os.environ", C, "import os\nreturn dict(os.environ)", "secret"),
    plain("posix.environ", C, "import posix\nreturn dict(posix.environ)", "secret"),
    plain("sys.argv and flags", C, "import sys\nreturn [sys.argv, sys.orig_argv, sys.path, sys.executable, repr(sys.flags)]", "secret"),
    plain("gc.get_objects", C, "import gc\nreturn [x for x in gc.get_objects() if isinstance(x, (str, list, dict, tuple)) and 'secret' in repr(x)[:9999]][:3]", "secret", cpu_s=1.0, wall_s=2.5),
    plain("gc.unfreeze, then look", C, "import gc\ngc.unfreeze()\nreturn [repr(x)[:200] for x in gc.get_objects() if type(x) in (list, dict, tuple) and 'secret' in repr(x)[:9999]][:3]", "secret", cpu_s=1.0, wall_s=2.5),
    plain("gc.get_referrers of strings", C, "import gc\nreturn [repr(x)[:300] for x in gc.get_referrers(*gc.get_objects()[:50]) if 'secret' in repr(x)[:9999]][:3]", "secret", cpu_s=1.0, wall_s=2.5),
    plain("frames to the server", C, _WALK, "secret"),
    plain("frames by a traceback", C, "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    frame = e.__traceback__.tb_frame\n    found = []\n    while frame:\n        found.append(repr(frame.f_locals)[:3000])\n        frame = frame.f_back\n    return [x for x in found if 'secret' in x]", "secret"),
    plain("frames by sys._current_frames", C, "import sys\nreturn [repr(f.f_back.f_back.f_locals)[:999] for f in sys._current_frames().values() if 'secret' in repr(f.f_back.f_back.f_locals)]", "secret"),
    plain("every module's globals", C, "import sys\nreturn [repr(vars(m))[:9999] for m in list(sys.modules.values()) if 'secret' in repr(vars(m))][:1]", "secret", cpu_s=1.0, wall_s=2.5),
    plain("every function's globals by subclasses", C, "found = []\nfor c in object.__subclasses__():\n    for v in list(vars(c).values()):\n        g = getattr(v, '__globals__', None)\n        if g and 'secret' in repr(g)[:99999]:\n            found.append(repr(g)[:500])\nreturn found[:2]", "secret", cpu_s=1.0, wall_s=2.5),
    plain("weakly held objects", C, "import weakref, gc\nreturn [repr(weakref.getweakrefs(x)) for x in gc.get_objects() if weakref.getweakrefcount(x) and 'secret' in repr(x)[:999]][:3]", "secret", cpu_s=1.0, wall_s=2.5),
    native("scan the own memory for other jobs", C,
           "base = call('dlsym', 0, b'environ') & ~4095\nfound = []\n"
           "for start in (base, call('sbrk', 0) - (1 << 20)):\n"
           "    block = memory(size=1 << 20)\n    call('memcpy', block, start, 1 << 12 if start == base else 1 << 20)\n"
           "    data = bytes(block)\n    at = data.find(b'secret' + b'')\n"
           "    while at >= 0 and len(found) < 400:\n        found.append(data[at:at + 30])\n        at = data.find(b'secret', at + 1)\n"
           "return found[-90:]", "secret"),
    native("freed memory of other jobs", C, "found = []\nfor _ in range(300):\n    size = 4096 * (1 + _ % 16)\n    where = call('malloc', size)\n"
           "    block = memory(size=size)\n    call('memcpy', block, where, size)\n    if b'job-' + b'secret' in bytes(block):\n        found.append(bytes(block)[:400])\nreturn found", "secret"),
    native("getenv", C, "where = call('getenv', b'AZRL_ARENA_SECRET')\nout = memory(size=40)\nif where:\n    call('memcpy', out, where, 40)\nreturn bytes(out)", "secret"),
    native("environ beyond the stack's end", C, "out = memory(size=8)\ncall('memcpy', out, call('dlsym', 0, b'__libc_argv'), 8)\n"
           "where = int.from_bytes(bytes(out), 'little')\nargv = memory(size=8)\ncall('memcpy', argv, where, 8)\n"
           "text = memory(size=1500)\ncall('memcpy', text, int.from_bytes(bytes(argv), 'little'), 1500)\nreturn bytes(text)", "secret"),
    native("read the kernel log", C, "out = memory(size=1 << 18)\nn = syscall(103, 3, out, 1 << 18)\nreturn bytes(out)[max(n - 4000, 0):max(n, 0)]", "secret"),
    native("message of another job by futex and shared pages", C, "hold(syscall(9, 0, 4096, 3, 0x21, 3, 0) > 0)", "state"),
    *(
        plain(f"read {path}", P, f"return open('{path}').read()[:4000]", "secret")
        for path in ("/proc/self/environ", "/proc/1/environ", "/proc/1/cmdline", "/proc/self/../2/environ", "/proc/self/task/1/environ", "/proc/thread-self/environ")
    ),
    plain("environ of every pid", P, "found = []\nfor pid in range(1, 400):\n    try:\n        found.append(open(f'/proc/{pid}/environ').read())\n    except OSError:\n        pass\nreturn found", "secret"),
    plain("command line of every pid", P, "found = []\nfor pid in range(1, 400):\n    try:\n        found.append(open(f'/proc/{pid}/cmdline').read())\n    except OSError:\n        pass\nreturn found", "secret"),
    plain("list /proc, /tmp and the home", P, "import os\nreturn [os.listdir(p) for p in ('/proc', '@DIR@', '/root')]", "state"),
    plain("memory of the parent by /proc", P, "import os\n" + _MAPS.format("1").replace("'/proc/1/", "f'/proc/{os.getppid()}/"), "secret"),
    plain("own memory by /proc", P, _MAPS.format("self").replace("b'secret'", "b'job-' + b'secret'"), "secret"),
    plain("own descriptors by /proc", P, "import os\nreturn [os.readlink(f'/proc/self/fd/{fd}') for fd in range(3, 9)]", "secret"),
    plain("open the parent's descriptors by /proc", P, "import os\nfor fd in range(64):\n    try:\n        return open(f'/proc/{os.getppid()}/fd/{fd}').read(99)\n    except OSError:\n        pass", "secret"),
    plain("write the own oom_score_adj", P, "open('/proc/self/oom_score_adj', 'w').write('1000')\nhold(True)", "state"),
    plain("write the parent's memory by /proc", P, "import os\nopen(f'/proc/{os.getppid()}/mem', 'r+b').write(b'x')", "server"),
    plain("write to /proc/sys", P, "open('/proc/sys/kernel/hostname', 'w').write('@TOKEN@')", "file"),
    plain("readlink of every pid's cwd", P, "import os\nfound = []\nfor pid in range(1, 400):\n    try:\n        found.append(os.readlink(f'/proc/{pid}/cwd'))\n    except OSError:\n        pass\nreturn found", "secret"),
    plain("stat a file", P, "import os\nreturn os.stat('@DIR@/secret.txt').st_mtime_ns", "secret"),
    plain("os.access tells which files exist", P, "import os\nreturn ''.join('01'[os.access(f'@DIR@/bits/{i}', os.F_OK)] for i in range(64))", "secret"),
    plain("getxattr", P, "import os\nreturn os.getxattr('@DIR@/secret.txt', 'user.secret')", "secret"),
)
