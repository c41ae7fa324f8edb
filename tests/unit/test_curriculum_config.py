"""Curricula in the configuration: every name can be chosen, and options are checked by the algorithm."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from azrl.config import ConfigError, load_config, to_yaml
from azrl.config.schema import Curriculum
from azrl.curriculum import ALGORITHMS


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_every_curriculum_can_be_chosen_and_its_options_reach_it() -> None:
    assert set(get_args(Curriculum.model_fields["name"].annotation)) == set(ALGORITHMS)
    loaded = load_config(
        overrides=[
            "curriculum.name=DUMP",
            "curriculum.options.temperature=0.2",
            "curriculum.options={window: 50}",
        ]
    )
    assert loaded.config.curriculum.name == "dump"
    assert loaded.config.curriculum.options == {"temperature": 0.2, "window": 50}


def test_options_with_arms_survive_writing_and_reading(tmp_path: Path) -> None:
    text = """\
tasks: {kinds: [deduction], bins: 2}
curriculum:
  name: proportional
  options:
    weights: {'deduction:1': 1, 'deduction:2': 2.5}
"""
    config = load_config([write(tmp_path / "given.yaml", text)]).config
    assert config.curriculum.options == {"weights": {"deduction:1": 1, "deduction:2": 2.5}}
    assert load_config([write(tmp_path / "dumped.yaml", to_yaml(config))]).config == config


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["name=dunp"], "did you mean 'dump'"),
        (["name=dump", "options.tmeperature=1"], "options.tmeperature: .*did you mean 'temperature'"),
        (
            ["name=dump", "options.temperature=-1"],
            "options.temperature: temperature should be above 0, got -1",
        ),
        (["name=staged", "options.order=[deduction:1]"], "options.order: order should name each arm once"),
        (["name=proportional"], "curriculum.name: curriculum 'proportional' needs the option weights"),
        (["options.tau=1"], "options.tau: curriculum 'uniform' has no option 'tau'"),
        (["options=3"], "is a section with keys of its own"),
    ],
)
def test_what_a_curriculum_refuses_is_said_at_its_place(given: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=[f"curriculum.{text}" for text in given])
