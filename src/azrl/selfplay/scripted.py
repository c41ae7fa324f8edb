"""A canned policy and a learner of one number: the whole loop, with real tasks and verdicts, in seconds.

The policy proposes from a short list of programs and answers as well as its `skill` lets it; the learner raises
the skill. It knows its programs by heart, so no text is ever evaluated here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.engine.scripted import LOGPROB, ScriptedEngine
from azrl.rl.types import Sample
from azrl.seeding import derive, generator
from azrl.tasks import judge

_FIRST_SKILL, _BEST_SKILL, _RATE = 0.3, 0.95, 0.02


def _program(*lines: str) -> str:
    return "def f(x):\n    " + "\n    ".join(lines)


# program -> (what it does, whether its argument is a list)
_KNOWN: dict[str, tuple[Callable[[Any], Any], bool]] = {
    _program("return x[::-1]"): (lambda x: x[::-1], True),
    _program("return sorted(x)"): (lambda x: sorted(x), True),
    _program("return [v + 3 for v in x]"): (lambda x: [v + 3 for v in x], True),
    _program("return x + [4]"): (lambda x: [*x, 4], True),
    _program("x = x[1:]", "return x[::-1]"): (lambda x: x[1:][::-1], True),
    _program("y = x * 3", "return y + 1"): (lambda x: x * 3 + 1, False),
    _program("x = x + 7", "return [x, 2]"): (lambda x: [x + 7, 2], False),
    _program("y = x * 2", "z = y - 5", "return max(z, 3)"): (lambda x: max(x * 2 - 5, 3), False),
    _program("if x > 4:", "    x = x * 2", "x = x + 1", "return x"): (
        lambda x: (x * 2 if x > 4 else x) + 1,
        False,
    ),
    _program("x = sorted(x)", "x = x[1:]", "x = x + [9]", "return x"): (lambda x: [*sorted(x)[1:], 9], True),
}
_PROGRAMS = tuple(_KNOWN)


class ScriptedLearner:
    """Keeps `azrl.rl.types.Learner`: each update moves the skill by the share of samples that did well."""

    def __init__(self) -> None:
        self.version = 0
        self.skill = _FIRST_SKILL

    def update(self, samples: Sequence[Sample], *, seed: int, progress: float = 0.0) -> dict[str, float]:
        """Raise the skill towards its best; nothing is drawn and nothing scheduled, so the rest changes nothing."""
        self.version += 1
        share = sum(s.advantage > 0 for s in samples) / len(samples)
        self.skill += _RATE * share * (_BEST_SKILL - self.skill)
        return {"loss": -share, "skill": self.skill}

    def weights(self) -> Mapping[str, Any]:
        """What the engine's policy reads."""
        return {"skill": self.skill}

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """The scripted engine's constant."""
        return [[LOGPROB] * len(tokens) for _, tokens in sequences]

    def save(self, folder: Path) -> None:
        """One small JSON file."""
        folder.mkdir(parents=True)
        (folder / "skill.json").write_text(json.dumps({"version": self.version, "skill": self.skill}))

    def load(self, folder: Path) -> None:
        """Read it back; ValueError when it is not there."""
        try:
            state = json.loads((folder / "skill.json").read_text())
        except OSError as error:
            raise ValueError(f"{folder} holds no scripted learner") from error
        self.version, self.skill = state["version"], state["skill"]


def scripted_policy() -> tuple[ScriptedEngine, ScriptedLearner]:
    """Engine and learner; the engine answers by the skill of its last sync."""
    learner = ScriptedLearner()
    engine = ScriptedEngine(
        lambda prompt, u, k: respond(prompt, u, float(engine.weights.get("skill", _FIRST_SKILL)))
    )
    return engine, learner


def encode(text: str) -> list[int]:
    """The policy's tokens: bytes."""
    return list(text.encode("utf-8", "surrogatepass"))


def token_vectors() -> NDArray[np.float64]:
    """What the policy has for token embeddings, float64[256, 16]: any directions, always the same ones."""
    return generator("scripted", "token vectors").standard_normal((256, 16))


def respond(prompt: str, u: float, skill: float) -> str:
    """The completion of a compact prompt; `u` in [0, 1) is all its luck."""
    head, _, body = prompt.partition("\n")
    luck = derive("scripted", repr(u), prompt)
    if head.startswith("propose induction"):
        program = body.rpartition("\nin ")[0]
        return "\nin ".join(_argument(program, luck + i) for i in range(6))
    if head.startswith("propose"):
        program = _PROGRAMS[luck % len(_PROGRAMS)]
        return f"{program}\nin {_argument(program, luck // 16)}"
    if luck % 1000 >= 1000 * skill:
        return "7" if luck % 3 else "?"
    if head == "induce":
        return _explain(body)
    program, _, rest = body.partition("\nin " if head == "deduce" else "\nout ")
    if program not in _KNOWN:  # one of the frozen probe's
        return "7"
    value = judge.literal(rest.split("\n")[0])
    function, _ = _KNOWN[program]
    if head == "deduce":
        return repr(function(value))
    tries = (_argument(program, i) for i in range(512))
    return next((text for text in tries if function(judge.literal(text)) == value), "0")


def _argument(program: str, luck: int) -> str:
    takes_list = _KNOWN[program][1]
    return repr([luck % 10, luck // 10 % 10, luck // 100 % 10]) if takes_list else repr(luck % 90)


def _explain(body: str) -> str:
    pairs = [block.split("\nout ") for block in body.removesuffix("new\n").removeprefix("in ").split("\nin ")]
    for program, (function, takes_list) in _KNOWN.items():
        values = [(judge.literal(i), judge.literal(o.strip())) for i, o in pairs]
        wanted = list if takes_list else int
        if all(isinstance(i, wanted) and function(i) == o for i, o in values):
            return program
    return _PROGRAMS[0]
