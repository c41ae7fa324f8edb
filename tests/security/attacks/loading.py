"""Pickle, marshal, code objects and the ways to import what is not there."""

from __future__ import annotations

from attacks.model import Attack, native, plain

C = "loading code"

ATTACKS: tuple[Attack, ...] = (
    plain("pickle calls os.system", C, "import pickle\npickle.loads(b'cos\\nsystem\\n(S\"touch @DIR@/@TOKEN@\"\\ntR.')", "file"),
    plain("pickle opens a file", C, "import pickle\npickle.loads(b'cio\\nopen\\n(S\"@DIR@/@TOKEN@\"\\nS\"w\"\\ntR.')", "file"),
    plain("__reduce__ for a host that unpickles", C, "class A:\n    def __reduce__(self):\n        return (open, ('@DIR@/@TOKEN@', 'w'))\nreturn A()", "file", never_ok=True),
    plain("a pickle as the answer", C, "return b'cos\\nsystem\\n(S\"touch @DIR@/@TOKEN@\"\\ntR.'", "file"),
    plain("code as the answer", C, "return '__import__(\"os\").system(\"touch @DIR@/@TOKEN@\")'", "file"),
    plain("marshal of random code", C, "import marshal\nexec(marshal.loads(b'\\xe3' + bytes(90)))", "honest"),
    plain("a code object that reads past its constants", C, "def g():\n    return 1\ncode = g.__code__.replace(co_code=bytes([151, 0, 100, 255, 83, 0]), co_consts=())\nreturn type(g)(code, {})()", "honest", never_ok=True),
    plain("a code object with an invalid stack", C, "def g():\n    return 1\ncode = g.__code__.replace(co_code=bytes([1, 0] * 3000 + [83, 0]))\nreturn type(g)(code, {})()", "honest", never_ok=True),
    *(
        plain(f"import {name}", C, f"import {name}\n{use}", shows)
        for name, use, shows in (
            ("ctypes", "hold(ctypes.CDLL(None).fork() >= 0)", "process"),
            ("sqlite3", "sqlite3.connect('@DIR@/@TOKEN@').execute('create table t (x)')", "file"),
            ("tempfile", "tempfile.NamedTemporaryFile(dir='@DIR@', prefix='@TOKEN@', delete=False)", "file"),
            ("shelve", "shelve.open('@DIR@/@TOKEN@')", "file"),
            ("numpy", "hold(bool(numpy))", "state"),
            ("arena_secret", "return arena_secret.SECRET", "secret"),
            ("pty", "pty.spawn('/bin/sh')", "process"),
            ("webbrowser", "webbrowser.open('http://127.0.0.1:@TCP@')", "network"),
        )
    ),
    plain("the frozen path finder", C, "import _frozen_importlib_external as e, sys\nsys.meta_path.append(e.PathFinder)\nsys.path.append('@DIR@/modules')\nimport arena_secret\nreturn arena_secret.SECRET", "secret"),
    plain("the built-in importer", C, "import _frozen_importlib as b\nposix = b.BuiltinImporter.load_module('posix')\nposix.open('@DIR@/@TOKEN@', 65)", "file"),
    plain("imp.load_dynamic", C, "import _imp\nspec = type('S', (), {'name': '_ctypes', 'origin': '@DIR@/x.so'})\nreturn _imp.create_dynamic(spec)", "state", never_ok=True),
    plain("a zip import", C, "import zipimport\nreturn zipimport.zipimporter('@DIR@/x.zip').load_module('x')", "state", never_ok=True),
    plain("__loader__ of builtins", C, "return __builtins__['__loader__'] if isinstance(__builtins__, dict) else __builtins__.__loader__.load_module('posix').system('touch @DIR@/@TOKEN@')", "file"),
    plain("subclasses to os.system", C, "for c in object.__subclasses__():\n    g = getattr(c.__init__, '__globals__', {})\n    if 'sys' in g and 'posix' in g['sys'].modules:\n        g['sys'].modules['posix'].system('touch @DIR@/@TOKEN@')", "file"),
    native("dlopen a library", C, "hold(call('dlopen', b'libutil.so.1', 2) > 0)", "state"),
    native("own machine code", C, "code = bytes([0xb8, 42, 0, 0, 0, 0xc3])\nwhere = syscall(9, 0, 4096, 7, 0x22, -1, 0)\nif where > 0:\n    call('memcpy', where, code, 6)\nhold(where > 0)", "state"),
    native("writable, then executable", C, "where = syscall(9, 0, 4096, 3, 0x22, -1, 0)\nok = where > 0 and syscall(10, where, 4096, 7) == 0\nhold(ok)", "state"),
    native("x32 system call", C, "hold(syscall(0x40000000 + 57) >= 0)", "process"),
    native("32-bit entry by own code", C, "code = bytes([0xb8, 2, 0, 0, 0, 0xcd, 0x80, 0xc3])\nwhere = syscall(9, 0, 4096, 7, 0x22, -1, 0)\nif where > 0:\n    call('memcpy', where, code, 8)\n    class F(C['CFuncPtr']):\n        _flags_ = 1\n        _restype_ = Long\n    F(where)()\nhold(where > 0)", "state"),
)
