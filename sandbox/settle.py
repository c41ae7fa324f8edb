"""Leaves the server's memory so that what a child allocates lies on few pages.

A child copies each page of the server that it is the first to write to, and those copies are most of what it
costs. A server that has imported its modules has holes everywhere; a child would fill one here and one there.
So the holes are filled once, and from then on objects lie side by side. What is loaded after that lies
together too. Only cost depends on this: with another allocator or other pool sizes nothing is gained or lost.

Where a pool begins hangs on the hash seed: a program whose result hangs on addresses should differ between seeds.
"""

# CPython's allocator for small objects (Objects/obmalloc.c)
_POOL, _HEADER, _STEP, _LARGEST = 1 << 14, 48, 16, 512
_MOST_POOLS = 64
_SPREAD = 1 << 10  # bytes
_BYTES = b"".__sizeof__()
_TOP, _SHRINK = 1 << 16, 7 / 8


def fill_holes():
    """Returns what fills them, to be kept."""
    kept = []
    for size in range(_STEP, _LARGEST + 1, _STEP):
        for _ in range(_MOST_POOLS * _POOL // size):
            kept.append(_object(size, len(kept)))
            if id(kept[-1]) % _POOL == _HEADER:  # the first of a pool: there was no room in the others
                break
        for _ in range(hash(str(size)) % max(_SPREAD // size, 1)):
            kept.append(_object(size, len(kept)))
    above, size = bytes(_TOP), _TOP  # the C library's heap, for what is larger
    while size > _LARGEST:
        while id(filler := bytes(int(size))) < id(above):
            kept.append(filler)
        size *= _SHRINK
    return kept


def _object(size, serial):
    """A new object of that many bytes which the interpreter does not share or keep for reuse."""
    if size <= _STEP:
        return object()
    return bytes(size - _BYTES) if size > _BYTES + 1 else complex(0, serial)
