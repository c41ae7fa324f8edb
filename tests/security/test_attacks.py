"""Hostile programs of every category against the real executor, in every environment that this machine has.

The catalogue is data, in `attacks/`; `arena/` runs it and judges from outside. All of it runs under the mark
`attacks` (`make test-attacks`, and `benchmarks/attacks.py`); a sample of every category always does.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import replace

import pytest
from arena.arena import Arena
from arena.environments import CONTROL, ENVIRONMENTS, Environment, Unavailable
from attacks import ATTACKS
from attacks.model import Attack, preludes

CATEGORIES = tuple(dict.fromkeys(attack.category for attack in ATTACKS))
MEMORY_GROWTH_MB = 5.0
SHOWN_FIRST = ("write a file", "read a file", "/proc")


def opened(environment: Environment) -> Iterator[Arena]:
    try:
        with Arena(environment) as arena:
            yield arena
    except Unavailable as reason:
        pytest.skip(f"{environment.name}: {reason}")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(each, id=each.name, marks=[pytest.mark.docker] if each.backend == "docker" else [])
        for each in ENVIRONMENTS
    ],
)
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    environment: Environment = request.param
    if environment.backend == "docker":
        environment = replace(environment, image=request.getfixturevalue("sandbox_image"))
    yield from opened(environment)


@pytest.fixture(scope="module")
def unprotected() -> Iterator[Arena]:
    yield from opened(CONTROL)


def succeeded(arena: Arena, category: str, every: int = 1) -> list[str]:
    chosen = [attack for attack in ATTACKS if attack.category == category][::every]
    assert chosen
    outcomes = [arena.run(attack) for attack in chosen]
    return [f"{o.attack.name}: {'; '.join(o.evidence)}" for o in outcomes if o.evidence]


def test_the_catalogue_is_large_and_has_no_doubles() -> None:
    assert len({(attack.program, attack.inputs) for attack in ATTACKS}) == len(ATTACKS) >= 200
    assert len({(attack.category, attack.name) for attack in ATTACKS}) == len(ATTACKS)
    kinds = {
        "file",
        "network",
        "secret",
        "process",
        "server",
        "honest",
        "verdict",
        "limit",
        "state",
        "carried",
        "left",
    }
    assert {attack.shows for attack in ATTACKS} <= kinds


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_sample_of_every_category_fails(arena: Arena, category: str) -> None:
    assert succeeded(arena, category, every=12) == []


@pytest.mark.attacks
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("category", CATEGORIES)
def test_every_attack_fails(arena: Arena, category: str) -> None:
    assert succeeded(arena, category) == []


def test_nothing_is_left_after_many_attacks(arena: Arena) -> None:
    before = arena.measure()
    for attack in ATTACKS[::25]:
        arena.run(attack)
    after = arena.measure()
    assert after["descriptors"] == before["descriptors"]
    assert after["processes"] == before["processes"]
    assert after["memory_mb"] <= before["memory_mb"] + MEMORY_GROWTH_MB


def test_a_forged_claim_is_taken_as_one(arena: Arena) -> None:
    """The forgeries speak the protocol: what they are refused for is what they say, not how."""
    [claim] = [attack for attack in ATTACKS if attack.name == "a forged claim alone"]
    outcome = arena.run(claim)
    assert (outcome.status, outcome.evidence) == ("ok", ())


def test_the_attacks_by_system_call_do_make_them(arena: Arena) -> None:
    """Else all of them would fail for want of a way, and show nothing of the filter."""
    program = preludes()["native"] + "import os\ndef f():\n    return 1 // (syscall(39) == os.getpid())\n"
    outcome = arena.run(Attack("getpid", "probe", program, "state", native=True))
    assert outcome.status == ("ok" if platform.machine() == "x86_64" else "skipped")


def test_attacks_succeed_where_the_inner_layers_are_off(unprotected: Arena) -> None:
    shown = [text for category in SHOWN_FIRST for text in succeeded(unprotected, category)]
    assert len(shown) >= 30


@pytest.mark.attacks
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("category", "least"),
    [
        ("network", 5), ("processes", 5), ("signals and ptrace", 5), ("memory", 2), ("descriptors", 5),
        ("loading code", 5), ("kernel and namespaces", 5),
    ],
)  # fmt: skip
def test_each_layer_has_something_to_hold(unprotected: Arena, category: str, least: int) -> None:
    assert len(succeeded(unprotected, category)) >= least
