"""Sockets of every family, to listeners that hear a single packet."""

from __future__ import annotations

from attacks.model import Attack, native, plain

C = "network"
_INET = "port = int('@{0}@')\naddress = b'\\2\\0' + port.to_bytes(2, 'big') + bytes([127, 0, 0, 1]) + bytes(8)\n"
_MODULE = "import sys\ns = sys.modules['_socket'].socket\n"

ATTACKS: tuple[Attack, ...] = (
    plain("TCP by the socket module", C, "import socket\nsocket.create_connection(('127.0.0.1', int('@TCP@')))", "network"),
    plain("TCP by _socket", C, _MODULE + "s(2, 1).connect(('127.0.0.1', int('@TCP@')))", "network"),
    plain("UDP by _socket", C, _MODULE + "s(2, 2).sendto(b'x', ('127.0.0.1', int('@UDP@')))", "network"),
    plain("unix stream by _socket", C, _MODULE + "s(1, 1).connect('@DIR@/stream.sock')", "network"),
    plain("abstract by _socket", C, _MODULE + "s(1, 2).sendto(b'x', '\\0@TOKEN@-datagram')", "network"),
    plain("a socket around the job's descriptor sends to a datagram", C,
          _MODULE + "s(1, 2, 0, 3).sendto(b'x', '@DIR@/datagram.sock')", "network"),
    plain("getaddrinfo", C, "import sys\nsys.modules['_socket'].getaddrinfo('localhost', int('@TCP@'))\nhold(True)", "state"),
    plain("socketpair by _socket", C, "import sys\na = sys.modules['_socket'].socketpair()\nhold(len(a) == 2)", "process"),
    plain("urllib", C, "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:@TCP@')", "network"),
    plain("asyncio", C, "import asyncio\nasyncio.run(asyncio.open_connection('127.0.0.1', int('@TCP@')))", "network"),
    native("TCP by number", C, _INET.format("TCP") + "syscall(42, syscall(41, 2, 1, 0), address, 16)", "network"),
    native("UDP by number", C, _INET.format("UDP") + "syscall(44, syscall(41, 2, 2, 0), b'x', 1, 0, address, 16)", "network"),
    native("TCP over IPv6 by number", C,
           "port = int('@TCP@')\naddress = b'\\x0a\\0' + port.to_bytes(2, 'big') + bytes(14) + b'\\xff\\xff\\x7f\\0\\0\\1'"
           " + bytes(4)\nsyscall(42, syscall(41, 10, 1, 0), address, 28)", "network"),
    native("TCP fast open", C, _INET.format("TCP") + "syscall(44, syscall(41, 2, 1, 0), b'x', 1, 0x20000000, address, 16)", "network"),
    native("MPTCP", C, _INET.format("TCP") + "syscall(42, syscall(41, 2, 1, 262), address, 16)", "network"),
    native("reuse the job's number for TCP", C,
           "import os\nos.close(3)\n" + _INET.format("TCP") + "syscall(41, 2, 1, 0)\nsyscall(42, 3, address, 16)", "network"),
    native("unix stream by number", C,
           "address = b'\\1\\0@DIR@/stream.sock\\0'\nsyscall(42, syscall(41, 1, 1, 0), address, len(address))", "network"),
    native("unix datagram by number", C,
           "address = b'\\1\\0@DIR@/datagram.sock\\0'\nsyscall(44, syscall(41, 1, 2, 0), b'x', 1, 0, address, len(address))", "network"),
    native("abstract stream by number", C,
           "address = b'\\1\\0\\0@TOKEN@-stream'\nsyscall(42, syscall(41, 1, 1, 0), address, len(address))", "network"),
    native("abstract datagram by number", C,
           "address = b'\\1\\0\\0@TOKEN@-datagram'\nsyscall(44, syscall(41, 1, 2, 0), b'x', 1, 0, address, len(address))", "network"),
    native("connect the job's socket elsewhere", C,
           "for wanted in (b'\\1\\0@DIR@/stream.sock\\0', b'\\1\\0\\0@TOKEN@-stream'):\n"
           "    syscall(42, 3, b'\\0' * 16, 16)\n    syscall(42, 3, wanted, len(wanted))", "network"),
    *(
        native(f"socket family {number}", C, f"hold(syscall(41, {number}, {kind}, {protocol}) >= 0)", "state")
        for number, kind, protocol in (
            (10, 3, 58), (16, 3, 0), (17, 3, 0x0300), (29, 3, 1), (31, 3, 1), (38, 5, 0), (40, 1, 0), (44, 3, 0),
        )
    ),
    native("raw ICMP", C, "hold(syscall(41, 2, 3, 1) >= 0)", "state"),
    native("ping socket", C, "hold(syscall(41, 2, 2, 1) >= 0)", "state"),
    native("listen on a port", C,
           "fd = syscall(41, 2, 1, 0)\nhold(syscall(49, fd, b'\\2' + bytes(15), 16) == 0 and syscall(50, fd, 5) == 0)", "state"),
    native("bind the job's socket to an abstract name for a later job", C,
           "address = b'\\1\\0\\0@TOKEN@'\nhold(syscall(49, 3, address, len(address)) == 0)", "network"),
    native("socketpair by number", C, "hold(syscall(53, 1, 1, 0, memory(size=8)) == 0)", "state"),
)
