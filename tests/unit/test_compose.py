"""What the composition knows of the model that it serves."""

from __future__ import annotations

import pytest

from azrl.config import Config
from azrl.selfplay import compose


@pytest.mark.parametrize(("template", "largest", "real"), [
    ("compact", 1e7, False),  # the tiny model
    ("think", 1e7, True),
    ("compact", 1e5, True),  # the same, were it too large for a toy: a template makes no model harmless
])  # fmt: skip
def test_who_counts_as_a_real_model(
    monkeypatch: pytest.MonkeyPatch, template: str, largest: float, real: bool
) -> None:
    monkeypatch.setattr(compose, "LARGEST_TOY", largest)
    policy = compose.build_policy(Config.model_validate({"model": {"template": template}}))
    assert policy.serves_real_model is real
