"""What happens inside the forked child: read one job, run it, write one claim for each input.

All of this shares a process with hostile code, so nothing here is secret and nothing it writes is believed:
the host takes the frames as text to be checked, and the fate of the process from the server's `wait4`.

Request, little endian: u32 length of the rest, u32 max output characters, u32 count, that many u32 byte
lengths, then the texts (UTF-8, surrogates passed): the program, then the inputs.
Answer: for each input one frame of tag, u32 length and text. Tags: K literal text; E class name of the
exception; N not a literal; L too large; F no callable `f`. What does not compile gives a single C frame.
"""

import builtins
from gc import enable as enable_gc
from os import _exit, read, write
from struct import Struct
from sys import setrecursionlimit

from canonical import NotLiteral, TooLarge, canonical

FLUSH_AT = 1 << 16
RECURSION_LIMIT = 1000
EXIT_OUT_OF_MEMORY = 3
WARM_ROUNDS = 20
_number, _two_numbers = Struct("<I").unpack, Struct("<II").unpack_from
_numbers, _head = Struct("<I").iter_unpack, Struct("<cI").pack
_class_name = type.__dict__["__name__"].__get__


def name_of(error):
    """Class name of an exception, past any metaclass that lies; `Exception` where it is no plain name."""
    name = _class_name(type(error))
    return name if type(name) is str and name.isidentifier() and len(name) <= 64 else "Exception"


def run_one(code, call, max_chars):
    """Execute the program in a fresh namespace, call `f`; returns (tag, text)."""
    namespace = {"__name__": "__task__", "__builtins__": builtins}
    try:
        exec(code, namespace)
        if not callable(namespace.get("f")):
            return b"F", ""
        value = eval(compile(f"f({call})", "<input>", "eval", dont_inherit=True), namespace)
        setrecursionlimit(RECURSION_LIMIT)
        return b"K", canonical(value, max_chars)
    except NotLiteral:
        return b"N", ""
    except TooLarge:
        return b"L", ""
    except BaseException as error:  # SystemExit and KeyboardInterrupt are outcomes like any other here
        return b"E", name_of(error)
    finally:
        setrecursionlimit(RECURSION_LIMIT)
        namespace.clear()  # a function and its globals hold one another


def run_all(texts, max_chars):
    """Yield one (tag, text) for each input, or a single C for a program that does not compile."""
    try:
        code = compile(texts[0], "<program>", "exec", dont_inherit=True)
    except BaseException as error:
        yield b"C", name_of(error)
        return
    for call in texts[1:]:
        yield run_one(code, call, max_chars)


def read_exactly(fd, size):
    """`size` bytes from `fd`; EOFError if it ends before."""
    data = read(fd, size)
    while len(data) < size:
        part = read(fd, size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def read_job(fd):
    """Returns (texts, max_chars)."""
    (size,) = _number(read_exactly(fd, 4))
    body = read_exactly(fd, size)
    max_chars, count = _two_numbers(body)
    texts, at = [], 8 + 4 * count
    for (length,) in _numbers(body[8:at]):
        texts.append(body[at : at + length].decode("utf-8", "surrogatepass"))
        at += length
    return texts, max_chars


def write_all(fd, data):
    """Write all of `data`."""
    while data:
        data = data[write(fd, data) :]


def answer(fd):
    """Read the job on `fd`, run it, write its claims."""
    texts, max_chars = read_job(fd)
    pending = b""
    for tag, text in run_all(texts, max_chars):
        data = text.encode("utf-8", "surrogatepass")
        pending += _head(tag, len(data)) + data
        if len(pending) >= FLUSH_AT:
            write_all(fd, pending)
            pending = b""
    write_all(fd, pending)


def child(fd):
    """Serve the one job on `fd` and leave the process. Never returns."""
    try:
        enable_gc()
        answer(fd)
        _exit(0)
    except MemoryError:
        _exit(EXIT_OUT_OF_MEMORY)
    finally:
        _exit(1)


def warm(ours, theirs):
    """Serve a small job some times over a pair of sockets, so that caches are filled and code is specialised before
    the first fork: what a child does for the first time, it does on pages that it must copy."""
    program = (
        "def f(xs, k):\n    d = {}\n    for i, x in enumerate(xs):\n"
        "        d.setdefault(x % k, []).append(i * x)\n"
        "    return sorted((a, sum(b)) for a, b in d.items())\n"
    )
    texts = [text.encode() for text in (program, "[3, 1, 4, 1, 5], 3", "['a'], 2", "{1: 'x'}, k={1, 2}")]
    body = Struct(f"<II{len(texts)}I").pack(1000, len(texts), *map(len, texts)) + b"".join(texts)
    for _ in range(WARM_ROUNDS):
        write_all(ours, len(body).to_bytes(4, "little") + body)
        answer(theirs)
        read(ours, FLUSH_AT)
