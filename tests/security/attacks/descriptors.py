"""Descriptors that a job was not given."""

from __future__ import annotations

from attacks.model import Attack, native, plain

C = "descriptors"

ATTACKS: tuple[Attack, ...] = (
    plain("dup", C, "import os\nhold(os.dup(3) >= 0)", "state"),
    plain("pipe", C, "import os\nos.pipe()\nhold(True)", "state"),
    plain("dup2 over standard output", C, "import os\nos.dup2(3, 1)\nhold(True)", "state"),
    plain("openpty", C, "import os\nos.openpty()\nhold(True)", "state"),
    plain("exhaust descriptors", C, "import os\nwhile True:\n    os.dup(3)", "state"),
    plain("memfd_create", C, "import os\nos.memfd_create('@TOKEN@')\nhold(True)", "state"),
    plain("eventfd", C, "import os\nos.eventfd(0)\nhold(True)", "state"),
    plain("pidfd_open", C, "import os\nos.pidfd_open(os.getppid())\nhold(True)", "state"),
    *(
        native(f"{name} by number", C, f"hold(syscall({number}, {arguments}) >= 0)", "state")
        for name, number, arguments in (
            ("dup", 32, "3"), ("dup2", 33, "3, 20"), ("dup3", 292, "3, 20, 0"), ("fcntl F_DUPFD", 72, "3, 0, 5"),
            ("pipe2", 293, "memory(size=8), 0"), ("eventfd2", 290, "0, 0"), ("epoll_create1", 291, "0"),
            ("inotify_init1", 294, "0"), ("signalfd4", 289, "-1, memory(bytes(8)), 8, 0"), ("timerfd_create", 283, "0, 0"),
            ("fanotify_init", 300, "0x200, 0"), ("userfaultfd", 323, "1"), ("pidfd_open", 434, "1, 0"),
            ("perf_event_open", 298, "memory((1).to_bytes(4, 'little') + (112).to_bytes(4, 'little') + bytes(32) + (0x62).to_bytes(8, 'little'), 112), 0, -1, -1, 0"),
            ("io_uring_setup", 425, "4, memory(size=120)"), ("bpf map", 321, "0, memory(b'\\2' + bytes(3) + b'\\4' + bytes(3) + b'\\4' + bytes(3) + b'\\1' + bytes(3), 72), 72"),
            ("open_tree", 428, "-100, b'/', 1"), ("fsopen", 430, "b'tmpfs', 0"), ("landlock_create_ruleset", 444, "memory(b'\\1', 8), 8, 0"),
            ("seccomp listener", 317, "1, 8, memory((1).to_bytes(8, 'little') + (lambda b: call('memcpy', b, b, 0))(memory(b'\\6' + bytes(5) + b'\\xff\\x7f')).to_bytes(8, 'little'))"),
            ("open_by_handle_at", 304, "-100, memory(bytes(8), 136), 0"), ("O_PATH", 257, "-100, b'/', 0x200000"),
            ("/proc/self/fd/3 again", 257, "-100, b'/proc/self/fd/0', 0"), ("/dev/null again", 257, "-100, b'/dev/null', 2"),
        )
    ),
    native("steal a descriptor of the parent by pidfd_getfd", C, "import os\nhold(syscall(438, syscall(434, os.getppid(), 0), 3, 0) >= 0)", "state"),
)
