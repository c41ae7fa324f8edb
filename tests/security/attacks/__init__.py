"""Attacks on the sandbox, as data: what a program that a model wrote under pressure might try."""

from attacks import compiling
from attacks.model import HERE, Attack, read

ATTACKS: tuple[Attack, ...] = (
    *(attack for path in sorted(HERE.glob("*.txt")) for attack in read(path)),
    *compiling.ATTACKS,
)
