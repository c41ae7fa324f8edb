"""Any C function, by way of the classes of ctypes that stay reachable from `object`: it needs no import."""


def kinds():
    found, todo = {}, [object]
    while todo:
        for kind in type.__subclasses__(todo.pop()):
            if getattr(kind, "__module__", "") == "_ctypes":
                found[kind.__name__] = kind
                todo.append(kind)
    return found


C = kinds()


class Long(C["_SimpleCData"]):
    _type_ = "l"


class Char(C["_SimpleCData"]):
    _type_ = "c"


class Everything:
    _handle = 0


def call(name, *arguments):
    class Function(C["CFuncPtr"]):
        _flags_ = 1
        _restype_ = Long

    return Function((name, Everything))(*[Long(a) if isinstance(a, int) else a for a in arguments])


def syscall(number, *arguments):
    return call("syscall", number, *arguments)


def memory(data=b"", size=0):
    class Block(C["Array"]):
        _type_ = Char
        _length_ = max(size, len(data), 1)

    block = Block()
    if data:
        block[: len(data)] = data
    return block
