"""Programs whose result depends on more than their input, and three controls that only look so.

`f` takes one argument, so that the gate's policy has nothing against the shape. The name says what it hangs on.
"""

from __future__ import annotations

CORPUS = {
    "id": "def f(x):\n    return id(x)",
    "id of a new object": "def f(x):\n    return id(object()) % 1000003",
    "id bit": "def f(x):\n    return (id([]) >> 20) & 1",
    "two id bits": "def f(x):\n    y = [x]\n    return [(id(y) >> 21) & 1, (id(y) >> 24) & 1]",
    "hash of a string": "def f(x):\n    return hash('ab' * x)",
    "hash bit of a string": "def f(x):\n    return hash('abc') & 1",
    "hash of bytes": "def f(x):\n    return hash(b'abc')",
    "hash of a tuple of strings": "def f(x):\n    return hash(('a', x))",
    "hash of None": "def f(x):\n    return hash(None)",
    "hash of a type": "def f(x):\n    return hash(int) % 97",
    "hash of an instance": "class C: pass\ndef f(x):\n    return hash(C()) % 1009",
    "set order": "def f(x):\n    return list({'a', 'b', 'c', 'd', 'e', 'f'})",
    "text of a set": "def f(x):\n    return str({'ab', 'cd', 'ef', 'gh', 'ij'})",
    "set.pop over three": "def f(x):\n    return {'red', 'green', 'blue'}.pop()",
    "join of a frozenset": "def f(x):\n    return ''.join(frozenset('abcdefgh'))",
    "order of key views": "def f(x):\n    return list({'a': 1, 'b': 2, 'c': 3, 'd': 4}.keys() & {'a', 'b', 'c', 'd'})",
    "order of types in a set": "def f(x):\n    return [t.__name__ for t in {int, str, list, dict, set}]",
    "address in a repr": "class C: pass\ndef f(x):\n    return repr(C())",
    "address of a function": "def f(x):\n    return str(f)",
    "random": "import random\ndef f(x):\n    return random.random()",
    "random choice": "import random\ndef f(x):\n    return random.choice(range(1000000))",
    "seeded by nothing": "import random\ndef f(x):\n    return random.Random().getrandbits(40)",
    "time": "import time\ndef f(x):\n    return time.time()",
    "clock": "import time\ndef f(x):\n    return time.perf_counter_ns()",
    "coarse clock": "import time\ndef f(x):\n    return int(time.time() // 1000)",
    "now": "import datetime\ndef f(x):\n    return datetime.datetime.now().microsecond",
    "pid": "import os\ndef f(x):\n    return os.getpid()",
    "urandom": "import os\ndef f(x):\n    return os.urandom(4)",
    "environment": "import os\ndef f(x):\n    return os.environ.get('PYTHONHASHSEED')",
    "counter kept in a module": (
        "import math\ndef f(x):\n    math.calls = getattr(math, 'calls', 0) + 1\n    return math.calls"
    ),
    "garbage counts": "import gc\ndef f(x):\n    return gc.get_count()",
}
CONTROLS = {
    "sorted set": "def f(x):\n    return sorted({'a', 'b', 'c', 'd'})",
    "seeded": "import random\ndef f(x):\n    return random.Random(x).random()",
    "module counter": "calls = []\ndef f(x, seen=[]):\n    calls.append(x)\n    seen.append(x)\n    return calls, seen",
}
