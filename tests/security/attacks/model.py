"""An attack as data, and how a file of them is read.

A file is text: `category: NAME`, a sentence on what it is about, then attacks. Each begins with a line
`== NAME | WHAT IT IS AFTER | OPTIONS` and goes on with the body of a function `f`; `-- then` begins the body of
one that runs in a later job and gives the token away if the attack has left it. Options: `native` puts the
prelude for system calls before it, `frames` the one that writes answers, `whole` says that the text is the
program itself, `never_ok`, `cpu_s=`, `wall_s=`, `memory_mb=` and `inputs=1,2` set the fields of that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Attack:
    """One hostile program. In its texts `@TOKEN@`, `@DIR@`, `@TCP@` and `@UDP@` stand for the arena's traps.

    Whatever evidence of whatever kind the arena finds makes it a success; `shows` says which kind it is after.
    `never_ok`: an honest executor cannot call this OK, so that OK itself is the evidence of a forged verdict.
    `native`: needs x86-64 system calls. Times are in seconds.
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


def read(path: Path) -> list[Attack]:
    """The attacks of one file. Raises ValueError for an option that is none."""
    head, *blocks = path.read_text("utf-8").split("\n== ")
    category = head.splitlines()[0].removeprefix("category: ")
    return [_attack(category, block) for block in blocks]


def preludes() -> dict[str, str]:
    """What programs may begin with, by name."""
    return {path.stem: path.read_text("utf-8") for path in sorted((HERE / "preludes").glob("*.py"))}


def _attack(category: str, block: str) -> Attack:
    title, text = block.split("\n", 1)
    name, shows, *rest = (part.strip() for part in title.split("|"))
    options = rest[0].split() if rest else []
    flags = {option for option in options if "=" not in option}
    if unknown := flags - {"native", "frames", "whole", "never_ok"}:
        raise ValueError(f"{category}: {name}: no option {', '.join(sorted(unknown))}")
    begin = "".join(
        _PRELUDES[part] for part in ("hold", "frames", "native") if part == "hold" or part in flags
    )
    first, *then = text.split("\n-- then\n")
    fields: dict[str, Any] = {}
    for key, value in (option.split("=", 1) for option in options if "=" in option):
        fields[key] = tuple(value.split(",")) if key == "inputs" else float(value)
    return Attack(
        name=name,
        category=category,
        program=first if "whole" in flags else begin + _function(first),
        shows=shows,
        follow=begin + _function(then[0]) if then else "",
        never_ok="never_ok" in flags,
        native="native" in flags,
        **fields,
    )


def _function(body: str) -> str:
    lines = body.strip("\n").splitlines()
    return "def f(*inputs):\n" + "".join(f"    {line}\n" if line else "\n" for line in lines)


_PRELUDES = preludes()
