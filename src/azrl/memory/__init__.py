"""How much memory a run takes, by arithmetic on the model's shape and the settings, before anything is loaded."""

from azrl.memory.estimate import biggest_pass, estimate
from azrl.memory.parts import ACCURACY, GIB, PROCESS, Estimate, Part

__all__ = ["ACCURACY", "GIB", "PROCESS", "Estimate", "Part", "biggest_pass", "estimate"]
