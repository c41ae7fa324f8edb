"""An attack as data, and the text that several attacks begin with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attack:
    """One hostile program. In its texts `@TOKEN@`, `@DIR@`, `@TCP@` and `@UDP@` stand for the arena's traps.

    Whatever evidence of whatever kind the arena finds makes it a success; `shows` says which kind it is after.
    `follow` is a program that runs next, on every server, and gives the token away if the attack left it.
    `never_ok`: an honest executor cannot call this OK, so that OK itself is the evidence of a forged verdict.
    `native`: needs x86-64 system calls.
    """

    name: str
    category: str
    program: str
    shows: str
    inputs: tuple[str, ...] = ("",)
    follow: str = ""
    never_ok: bool = False
    native: bool = False
    cpu_s: float = 0.2
    wall_s: float = 1.0
    memory_mb: int = 128


def body(text: str) -> str:
    """A program whose `f` has this body, given without indentation."""
    return "def f(*inputs):\n" + "".join(f"    {line}\n" for line in text.strip("\n").splitlines())


HOLD = "\ndef hold(happened):\n    while happened:\n        pass\n"

# Any C function, by way of the classes of ctypes that stay reachable from `object`: it needs no import.
NATIVE = (
    HOLD
    + """
def kinds():
    found, todo = {}, [object]
    while todo:
        for kind in type.__subclasses__(todo.pop()):
            if getattr(kind, '__module__', '') == '_ctypes':
                found[kind.__name__] = kind
                todo.append(kind)
    return found
C = kinds()
class Long(C['_SimpleCData']):
    _type_ = 'l'
class Char(C['_SimpleCData']):
    _type_ = 'c'
class Everything:
    _handle = 0
def call(name, *args):
    class Function(C['CFuncPtr']):
        _flags_ = 1
        _restype_ = Long
    return Function((name, Everything))(*[Long(a) if isinstance(a, int) else a for a in args])
def syscall(number, *args):
    return call('syscall', number, *args)
def memory(data=b'', size=0):
    class Block(C['Array']):
        _type_ = Char
        _length_ = max(size, len(data), 1)
    block = Block()
    if data:
        block[:len(data)] = data
    return block
"""
)


def native(name: str, category: str, text: str, shows: str, **more: object) -> Attack:
    """An attack by system calls: `text` is the body of `f`, with NATIVE before it."""
    return Attack(name, category, NATIVE + body(text), shows, native=True, **more)  # type: ignore[arg-type]


def plain(name: str, category: str, text: str, shows: str, **more: object) -> Attack:
    """An attack in plain Python: `text` is the body of `f`."""
    return Attack(name, category, HOLD + body(text), shows, **more)  # type: ignore[arg-type]
