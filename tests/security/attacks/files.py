"""Reading and writing files: by descriptor, and by the calls that need none."""

from __future__ import annotations

from attacks.model import Attack, native, plain

W, R = "write a file", "read a file"
_FOLDERS = ("@DIR@", "/tmp", "/var/tmp", "/dev/shm", "/run", "", ".")

ATTACKS: tuple[Attack, ...] = (
    *(
        plain(f"open {folder or '/'} for writing", W, f"open('{folder}/@TOKEN@', 'w').write('x')", "file")
        for folder in _FOLDERS
    ),
    plain("append to a file of others", W, "open('@DIR@/bait.txt', 'a').write('x')", "file"),
    plain("os.open with O_CREAT", W, "import os\nos.open('@DIR@/@TOKEN@', os.O_CREAT | os.O_WRONLY)", "file"),
    plain("os.open with O_TMPFILE", W, "import os\nhold(os.open('@DIR@', os.O_TMPFILE | os.O_RDWR) >= 0)", "state"),
    plain("io.FileIO", W, "import io\nio.FileIO('@DIR@/@TOKEN@', 'w').write(b'x')", "file"),
    plain("posix.open", W, "import posix\nposix.open('@DIR@/@TOKEN@', 65)", "file"),
    plain("mkdir", W, "import os\nos.mkdir('@DIR@/@TOKEN@')", "file"),
    plain("mkfifo", W, "import os\nos.mkfifo('@DIR@/@TOKEN@')", "file"),
    plain("mknod", W, "import os\nos.mknod('@DIR@/@TOKEN@')", "file"),
    plain("symlink", W, "import os\nos.symlink('x', '@DIR@/@TOKEN@')", "file"),
    plain("hard link", W, "import os\nos.link('@DIR@/bait.txt', '@DIR@/@TOKEN@')", "file"),
    plain("rename", W, "import os\nos.rename('@DIR@/bait.txt', '@DIR@/@TOKEN@')", "file"),
    plain("unlink", W, "import os\nos.unlink('@DIR@/bait.txt')", "file"),
    plain("truncate by path", W, "import os\nos.truncate('@DIR@/bait.txt', 0)", "file"),
    plain("chmod", W, "import os\nos.chmod('@DIR@/bait.txt', 0)", "file"),
    plain("utime", W, "import os\nos.utime('@DIR@/bait.txt', (1, 1))", "file"),
    plain("setxattr", W, "import os\nos.setxattr('@DIR@/bait.txt', 'user.x', b'1')", "file"),
    plain("chdir", W, "import os\nos.chdir('@DIR@')\nhold(True)", "state"),
    native("openat by number", W, "syscall(257, -100, b'@DIR@/@TOKEN@', 65, 511)", "file"),
    native("creat by number", W, "syscall(85, b'@DIR@/@TOKEN@', 511)", "file"),
    native("mkdirat by number", W, "syscall(258, -100, b'@DIR@/@TOKEN@', 511)", "file"),
    native("openat2 by number", W, "how = memory((66).to_bytes(8, 'little') + (511).to_bytes(8, 'little'), 24)\n"
           "syscall(437, -100, b'@DIR@/@TOKEN@', how, 24)", "file"),
    native("bind the job's own socket to a path", W,
           "address = b'\\1\\0@DIR@/@TOKEN@\\0'\nsyscall(49, 3, address, len(address))", "file"),
    native("mq_open", W, "hold(syscall(240, b'@TOKEN@', 66, 511, 0) >= 0)", "file"),
    native("fchmodat2", W, "syscall(452, -100, b'@DIR@/bait.txt', 0, 0)", "file"),
    plain("read a secret by open", R, "return open('@DIR@/secret.txt').read()", "secret"),
    plain("read a secret by io.open_code", R, "import io\nreturn io.open_code('@DIR@/secret.txt').read()", "secret"),
    plain("read a secret by os.open", R, "import os\nreturn os.read(os.open('@DIR@/secret.txt', 0), 99)", "secret"),
    plain("read it where the job's descriptor was", R,
          "import os\nos.close(3)\nos.open('@DIR@/secret.txt', 0)\nreturn os.read(3, 99)", "secret"),
    plain("read a secret over standard input", R,
          "import os\nos.close(0)\nos.open('@DIR@/secret.txt', 0)\nreturn input()", "secret"),
    plain("readlink a secret", R, "import os\nreturn os.readlink('@DIR@/link')", "secret"),
    plain("a loader reads a secret", R,
          "import sys\nloader = type(sys.__spec__.loader) if sys.__spec__ else None\n"
          "import _frozen_importlib_external as e\nreturn e.FileLoader('x', '@DIR@/secret.txt')"
          ".get_data('@DIR@/secret.txt')", "secret"),
    plain("linecache reads a secret", R, "import linecache\nreturn linecache.getlines('@DIR@/secret.txt')", "secret"),
    plain("a traceback reads a secret", R,
          "import traceback\ntry:\n    exec(compile('1/0', '@DIR@/secret.txt', 'exec'))\n"
          "except Exception:\n    return traceback.format_exc()", "secret"),
    plain("a codec reads a secret", R, "import codecs\nreturn codecs.open('@DIR@/secret.txt').read()", "secret"),
    plain("SyntaxError shows a secret line", R,
          "import sys\ntry:\n    raise SyntaxError('x', ('@DIR@/secret.txt', 1, 1, None))\n"
          "except SyntaxError as e:\n    import traceback\n    return ''.join(traceback.format_exception(e))", "secret"),
    native("map a secret file", R, "fd = syscall(257, -100, b'@DIR@/secret.txt', 0)\n"
           "block = memory(size=99)\nsyscall(0, fd, block, 99)\nreturn bytes(block)", "secret"),
    native("fopen", R, "import os\nhold(call('fopen', b'@DIR@/secret.txt', b'r') > 0)", "state"),
)
