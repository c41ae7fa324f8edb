"""Attacks on the sandbox, as data: what a program that a model wrote under pressure might try."""

from attacks import (
    channel,
    clocks,
    compiling,
    descriptors,
    files,
    introspection,
    kernel,
    leaving,
    loading,
    memory,
    network,
    outputs,
    poison,
    processes,
    signals,
)
from attacks.model import Attack

_MODULES = (
    files, network, processes, signals, clocks, memory, channel, descriptors,
    introspection, poison, loading, outputs, leaving, compiling, kernel,
)
ATTACKS: tuple[Attack, ...] = tuple(attack for module in _MODULES for attack in module.ATTACKS)
