"""The layers of isolation by name: what each leaves uncovered, what it needs, and which must be there."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from azrl.errors import UserError


@dataclass(frozen=True, slots=True)
class Layer:
    """`leaves`: what it does not cover. `needs`: what the machine must give for it."""

    leaves: str
    needs: str


LAYERS = {
    "limits": Layer("memory that is not address space of the child, such as socket buffers", "any Linux"),
    "rlimits": Layer("processes and files of a program that runs as root", "any Linux"),
    "no_new_privs": Layer("privileges that a program has from the start", "any Linux"),
    "seccomp": Layer(
        "kernel bugs in the calls that are left, side channels of the processor",
        "a kernel with CONFIG_SECCOMP_FILTER, and a container profile that lets seccomp(2) through",
    ),
    "landlock": Layer(
        "UDP, metadata of files, descriptors that are open already",
        "Linux 5.13 or newer with landlock among its security modules (lsm=landlock,...)",
    ),
    "user": Layer(
        "files that everybody may read or write",
        "the host to be root with CAP_SETUID and CAP_SETGID",
    ),
    "namespaces": Layer(
        "process ids, mounts, clocks",
        "root with CAP_SYS_ADMIN, or user namespaces for ordinary users (sysctl user.max_user_namespaces, "
        "kernel.unprivileged_userns_clone, and a container profile that lets unshare(2) through)",
    ),
    "root": Layer(
        "descriptors that are open already",
        "CAP_SYS_CHROOT, or what `namespaces` needs; and a folder such as /tmp that can be written",
    ),
    "capabilities": Layer("what an ordinary user may do", "any Linux"),
    "lifeline": Layer("a host that is stopped and not ended", "the host to hold a pipe to its servers"),
}
MINIMUM = ("limits", "no_new_privs", "rlimits", "seccomp")
"""What must be there unless `executor.minimum_layers` says otherwise: all that every machine should give."""


@dataclass(frozen=True, slots=True)
class Layers:
    """What a server found on its machine: `active` by name with a detail, `missing` by name with the reason."""

    active: Mapping[str, str]
    missing: Mapping[str, str]

    @classmethod
    def of_greeting(cls, text: str) -> Layers:
        """Reads the JSON of a server's greeting. Raises UserError if it is none."""
        try:
            found = json.loads(text)
            return cls(dict(found["active"]), dict(found["missing"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"the fork server's greeting names no layers: {text[:200]!r}") from error

    def require(self, minimum: Collection[str]) -> None:
        """Raises UserError if a layer of `minimum` is missing, saying which, why, and what to do."""
        lacking = [name for name in minimum if name not in self.active]
        if lacking:
            reasons = [
                f"{name} ({self.missing.get(name, 'not known here')}; it needs {LAYERS[name].needs})"
                for name in lacking
            ]
            raise UserError(
                f"the sandbox lacks layers that executor.minimum_layers asks for: {'; '.join(reasons)}. "
                "Run where they can be had, or take them off the list if you accept the risk"
            )

    def describe(self) -> dict[str, str]:
        """The names of all layers, and one entry each: what it does and does not, or why it is missing."""
        there = {"layers": ", ".join(sorted(self.active))}
        for name, detail in self.active.items():
            there[f"layer {name}"] = f"{detail}; not covered: {LAYERS[name].leaves}"
        return there | {f"missing {name}": reason for name, reason in self.missing.items()}


class Promise:
    """What the servers of one executor hold: `minimum` at least, and all that the first of them held."""

    def __init__(self, minimum: Collection[str] = MINIMUM):
        unknown = sorted(set(minimum) - set(LAYERS))
        if unknown:
            raise UserError(
                f"executor.minimum_layers names {', '.join(unknown)}; there are {', '.join(sorted(LAYERS))}"
            )
        self.minimum = tuple(minimum)
        self.kept: Layers | None = None

    def greeted(self, greeting: str) -> None:
        """Reads a server's first words: `ready` and its layers, which are taken in, or `failed` and why. Raises
        UserError for a server that did not start (it said nothing, or why) or that holds too little."""
        if not greeting.startswith("ready "):
            reason = greeting.removeprefix("failed ") or "it ended at once"
            raise UserError(f"the fork server did not start: {reason}")
        self.take(Layers.of_greeting(greeting.removeprefix("ready ")))

    def take(self, layers: Layers) -> None:
        """Takes in what a server that has just started holds. Raises UserError if that is too little."""
        layers.require(self.minimum)
        if self.kept is None:
            self.kept = layers
            return
        lost = sorted(set(self.kept.active) - set(layers.active))
        if lost:
            reasons = "; ".join(f"{name} ({layers.missing.get(name, 'no reason given')})" for name in lost)
            raise UserError(
                f"a fork server started without layers that the first one had: {reasons}. "
                "Something on this machine has changed or run out; see sysctl user.max_*_namespaces"
            )

    def describe(self) -> dict[str, str]:
        """One entry a layer; nothing before the first server has started."""
        return self.kept.describe() if self.kept else {}
