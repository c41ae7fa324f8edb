"""System calls that reach far into the kernel, and what they would leave in a process for all to see."""

from __future__ import annotations

from attacks.model import Attack, native

C = "kernel and namespaces"
_SPACES = (("user", 0x10000000), ("mount", 0x20000), ("pid", 0x20000000), ("net", 0x40000000), ("ipc", 0x8000000), ("uts", 0x4000000), ("cgroup", 0x2000000), ("time", 0x80))


def _holds(name: str, expression: str, before: str = "") -> Attack:
    return native(name, C, f"{before}hold({expression} == 0)", "state")


ATTACKS: tuple[Attack, ...] = (
    *(_holds(f"unshare the {name} namespace", f"syscall(272, {flag})") for name, flag in _SPACES if name != "time"),
    *(
        _holds(f"unshare the {name} namespace inside a user namespace", f"syscall(272, {flag | 0x10000000})")
        for name, flag in _SPACES
        if name not in ("user", "time")
    ),
    native("all capabilities in a user namespace, then mount", C,
           "syscall(272, 0x10020000)\nhold(syscall(165, b'none', b'/tmp', b'tmpfs', 0, None) == 0)", "state"),
    native("all capabilities in a user namespace, then chroot", C, "syscall(272, 0x10000000)\nhold(syscall(161, b'/tmp') == 0)", "state"),
    _holds("chroot", "syscall(161, b'@DIR@')"),
    _holds("mount", "syscall(165, b'none', b'@DIR@', b'tmpfs', 0, None)"),
    _holds("bind mount", "syscall(165, b'/', b'@DIR@', None, 4096, None)"),
    _holds("umount", "syscall(166, b'/proc', 2)"),
    _holds("pivot_root", "syscall(155, b'@DIR@', b'@DIR@')"),
    _holds("setuid 0", "syscall(105, 0)"),
    _holds("setresuid to root", "syscall(117, 0, 0, 0)"),
    _holds("setgid 0", "syscall(106, 0)"),
    _holds("setgroups", "syscall(116, 1, memory(bytes(4)))"),
    _holds("setuid to another job's user", "syscall(105, 65000)"),
    _holds("capset", "syscall(126, memory(b'\\x22\\x05\\x08\\x20', 8), memory(b'\\xff' * 24))"),
    _holds("ambient capability", "syscall(157, 47, 2, 21, 0, 0)"),
    _holds("personality without randomisation", "syscall(135, 0x40000) * 0"),
    _holds("readable memory becomes executable", "syscall(135, 0x400000) * 0"),
    _holds("dumpable again", "syscall(157, 4, 1, 0, 0, 0)", "syscall(157, 0x59616d61, -1, 0, 0, 0)\n"),
    native("io_setup", C, "hold(syscall(206, 8, memory(bytes(8))) == 0)", "state"),
    native("a key in the user's keyring for later jobs", C,
           "syscall(248, b'user', b'azrlarena', b'@TOKEN@', 19, -4)", "carried",
           follow="@NATIVE@def f():\n    out = memory(size=40)\n    key = syscall(250, 10, -4, b'user', b'azrlarena', 0)\n"
                  "    syscall(250, 11, key, out, 40)\n    return bytes(out)\n"),
    native("a key in the session keyring for later jobs", C,
           "syscall(248, b'user', b'azrlarena', b'@TOKEN@', 19, -3)", "carried",
           follow="@NATIVE@def f():\n    out = memory(size=40)\n    key = syscall(250, 10, -3, b'user', b'azrlarena', 0)\n"
                  "    syscall(250, 11, key, out, 40)\n    return bytes(out)\n"),
    native("a key in the server's session keyring", C,
           "syscall(250, 18, 0, 0, 0, 0)\nsyscall(248, b'user', b'azrlarena2', b'@TOKEN@', 19, -5)", "carried",
           follow="@NATIVE@def f():\n    out = memory(size=40)\n    syscall(250, 11, syscall(250, 10, -5, b'user', b'azrlarena2', 0), out, 40)\n    return bytes(out)\n"),
    native("request_key", C, "hold(syscall(249, b'user', b'azrlarena', b'x', -4) > 0)", "state"),
    _holds("seccomp filter of one's own", "syscall(157, 22, 2, filter, 0, 0)",
           "import struct\nallow = memory(struct.pack('<HBBI', 6, 0, 0, 0x7fff0000))\n"
           "filter = memory(struct.pack('<Q', 1) + call('memcpy', allow, allow, 0).to_bytes(8, 'little'))\n"),
    _holds("strict seccomp", "syscall(157, 22, 1, 0, 0, 0)"),
    _holds("real-time scheduling", "syscall(144, 0, 1, memory(b'\\1' + bytes(3)))"),
    _holds("better niceness", "syscall(141, 0, 0, -20)"),
    _holds("sethostname", "syscall(170, b'@TOKEN@', 10)"),
    _holds("load a module", "syscall(175, memory(size=64), 64, b'')"),
    _holds("kexec_load", "syscall(246, 0, 0, None, 0)"),
    _holds("acct to a file", "syscall(163, b'@DIR@/bait.txt')"),
    _holds("swapon", "syscall(167, b'@DIR@/bait.txt', 0)"),
    _holds("iopl", "syscall(172, 3)"),
    _holds("setns to the init process", "syscall(308, syscall(434, 1, 0), 0x40000000)"),
    native("name a file by handle", C, "hold(syscall(303, -100, b'/', memory((128).to_bytes(4, 'little'), 140), memory(size=4), 0) == 0)", "state"),
    native("shadow stack and protection keys", C, "hold(syscall(330, 0, 0) > 0 and syscall(329, syscall(9, 0, 4096, 3, 0x22, -1, 0), 4096, 7, 1) == 0)", "state"),
    native("every system call number with zeros", C,
           "skip = {15, 162, 306, 22, 23, 34, 35, 56, 57, 58, 60, 61, 101, 127, 128, 130, 134, 169, 202, 219, 231, 232, 247, 270, 271, 281, 435, 441, 449, 454}\n"
           "for number in range(460):\n    if number not in skip:\n        syscall(number, 0, 0, 0, 0, 0, 0)\nhold(True)", "state"),
)
