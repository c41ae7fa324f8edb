"""Starting, keeping and replacing processes and threads."""

from __future__ import annotations

from attacks.model import Attack, native, plain

C = "processes"
# Bounded, so that a sandbox that fails does not take the machine with it.
_BOMB = "import os\nfor _ in range(6):\n    {}\nwhile True:\n    pass"

ATTACKS: tuple[Attack, ...] = (
    plain("os.fork", C, "import os\nos.fork()\nhold(True)", "process"),
    plain("fork bomb", C, _BOMB.format("os.fork()"), "process"),
    plain("os.forkpty", C, "import os\nos.forkpty()\nhold(True)", "process"),
    plain("posix_spawn", C, "import os\nos.posix_spawn('/bin/sleep', ['sleep', '9'], {})\nhold(True)", "process"),
    plain("os.system", C, "import os\nhold(os.system('echo x > @DIR@/@TOKEN@') == 0)", "file"),
    plain("os.popen", C, "import os\nos.popen('echo x > @DIR@/@TOKEN@').read()", "file"),
    plain("subprocess", C, "import subprocess\nsubprocess.run(['touch', '@DIR@/@TOKEN@'])", "file"),
    plain("_posixsubprocess", C, "import _posixsubprocess\nhold(bool(_posixsubprocess))", "process"),
    plain("multiprocessing", C, "import multiprocessing\nmultiprocessing.Process(target=print).start()", "process"),
    plain("thread by _thread", C, "import _thread\n_thread.start_new_thread(hold, (True,))\nhold(True)", "process"),
    plain("thread by threading", C, "import threading\nthreading.Thread(target=hold, args=(True,)).start()\nhold(True)", "process"),
    plain("faulthandler's watchdog thread", C, "import faulthandler\nfaulthandler.dump_traceback_later(60)\nhold(True)", "process"),
    plain("exec a static program", C,
          "import os\nfor path in ('/sbin/ldconfig', '/bin/busybox', '/usr/bin/busybox'):\n    try:\n"
          "        os.execve(path, ['ldconfig', '-p'], {})\n    except OSError:\n        pass", "state"),
    plain("exec a shell", C, "import os\nos.execv('/bin/sh', ['sh', '-c', 'echo x > @DIR@/@TOKEN@'])", "file"),
    plain("exec this interpreter again", C, "import sys, os\nos.execv(sys.executable, [sys.executable, '-c', 'while 1: 0'])", "state"),
    plain("daemon by double fork", C,
          "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        hold(True)\n    os._exit(0)\n"
          "return 1", "process"),
    native("fork by number", C, "syscall(57)\nhold(True)", "process"),
    native("vfork by number", C, "hold(syscall(58) >= 0)", "process"),
    native("clone by number", C, "syscall(56, 17, 0, 0, 0, 0)\nhold(True)", "process"),
    native("clone with CLONE_PARENT: a child for the server", C, "syscall(56, 0x8000 | 17, 0, 0, 0, 0)\nhold(True)", "process"),
    native("clone a thread-like process that shares memory", C, "hold(syscall(56, 0x100 | 17, 0, 0, 0, 0) > 0)", "process"),
    native("clone3 by number", C, "args = memory(bytes(32) + (17).to_bytes(8, 'little'), 88)\nsyscall(435, args, 88)\nhold(True)", "process"),
    native("clone3 into a new user namespace", C,
           "args = memory((0x10000000).to_bytes(8, 'little') + bytes(24) + (17).to_bytes(8, 'little'), 88)\n"
           "syscall(435, args, 88)\nhold(True)", "process"),
    native("fork bomb by number", C, "for _ in range(6):\n    syscall(57)\nhold(True)", "process"),
    native("pthread_create", C, "thread = memory(size=8)\npause = call('dlsym', 0, b'pause')\n"
           "hold(call('pthread_create', thread, None, pause, None) == 0)", "process"),
    native("execveat by number", C, "syscall(322, -100, b'/sbin/ldconfig', memory(bytes(8)), memory(bytes(8)), 0)", "state"),
    native("outlive the job: no death signal, own session", C,
           "syscall(157, 1, 0, 0, 0, 0)\nsyscall(112)\nif syscall(57) == 0:\n    hold(True)\nreturn 1", "process"),
    native("keep children by becoming a subreaper", C, "syscall(157, 36, 1, 0, 0, 0)\nsyscall(57)\nhold(True)", "process"),
)
