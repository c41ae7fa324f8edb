"""What an estimate is made of: parts, each in a phase of a step, and the phase that needs most."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30
FLOAT32 = 4
ACCURACY = 0.15
"""How far a measured peak may lie from the estimate."""
PROCESS = {"cpu": int(0.35 * GIB), "cuda": int(0.55 * GIB)}
"""Python with torch and transformers (resident, measured), or a CUDA context with its libraries (as commonly seen)."""
LOGIT_COPIES = 3
"""float32 arrays of [tokens, vocabulary] that are alive at once, in the loss (log-probabilities, their gradient, and
that of the logits) as in the sampler (logits, probabilities, running sum)."""
PHASES = ("load", "generate", "update", "sync")


@dataclass(frozen=True, slots=True)
class Part:
    """One use of memory: what, how many bytes, in which phase (`always`, or one of PHASES), and why."""

    name: str
    size: int
    phase: str
    why: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """All parts. The peak is what is always there plus the largest phase; while loading, nothing else is there yet."""

    parts: tuple[Part, ...]

    def of(self, phase: str) -> int:
        """Bytes of one phase alone."""
        return sum(part.size for part in self.parts if part.phase == phase)

    def during(self, phase: str) -> int:
        """All bytes in use in a phase."""
        return self.of(phase) + (self.of("always") if phase != "load" else 0)

    @property
    def peak_phase(self) -> str:
        """The phase in which most memory is in use."""
        return max(PHASES, key=self.during)

    @property
    def peak(self) -> int:
        """Bytes at the worst moment."""
        return self.during(self.peak_phase)

    def fits(self, room: int) -> str:
        """`fits`, `tight` (`room` bytes lie within the estimate's accuracy: it may run out) or `too large`."""
        if self.peak * (1 + ACCURACY) <= room:
            return "fits"
        return "tight" if self.peak <= room * (1 + ACCURACY) else "too large"


def count(n: int) -> str:
    """A number of parameters in words."""
    return f"{n / 1e9:.2f} billion" if n >= 1e9 else f"{n / 1e6:.2f} million"
