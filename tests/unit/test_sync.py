"""The sync copies and proves, and the seeds behind every draw."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hash_seeds import printed
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from azrl.config.schema import Training
from azrl.engine import ScriptedEngine, SyncMismatch
from azrl.engine.torch_engine import TorchEngine
from azrl.models.load import load_tiny
from azrl.rl.learner import TorchLearner
from azrl.seeding import derive, generator
from azrl.selfplay.scripted import ScriptedLearner
from azrl.selfplay.sync import Sync

PROBES = [([1, 2], [3, 4, 5]), ([6], [7])]


class Apart(ScriptedLearner):
    """A learner whose scores are off by these, token by token."""

    def __init__(self, *gaps: float) -> None:
        super().__init__()
        self.gaps = list(gaps)

    def score(self, sequences):
        gaps = iter(self.gaps)
        return [[value + next(gaps) for value in row] for row in super().score(sequences)]


def test_a_sync_hands_over_the_weights_and_says_how_far_apart_they_are() -> None:
    engine = ScriptedEngine(lambda prompt, u, k: "")
    learner = Apart(0.0, 0.004, 0.0, 0.0)
    assert Sync(engine, learner, PROBES, 0.1, 1.0)({}) == pytest.approx(
        {"sync/worst": 0.004, "sync/mean": 0.001}
    )
    assert engine.weights == learner.weights()
    learner.skill = 0.9
    Sync(engine, learner, PROBES, 0.1, 1.0)({})
    assert engine.weights == {"skill": 0.9}


@pytest.mark.parametrize("gaps", [(0.0, 0.11, 0.0, 0.0), (0.02,) * 4, (0.0, float("nan"), 0.0, 0.0)])
def test_a_sync_that_proves_nothing_stops_the_run(gaps: tuple[float, ...]) -> None:
    """One token too far off, all of them a little, or one that is no number."""
    engine = ScriptedEngine(lambda prompt, u, k: "")
    with pytest.raises(SyncMismatch, match="disagree after a sync"):
        Sync(engine, Apart(*gaps), PROBES, 0.1, 1.0)({})


@pytest.mark.parametrize("mismatch", [0.3, float("nan")])
def test_rollouts_of_another_model_stop_the_run_with_both_saved(tmp_path: Path, mismatch: float) -> None:
    engine = ScriptedEngine(lambda prompt, u, k: "")
    learner = ScriptedLearner()
    sync = Sync(engine, learner, PROBES, 0.1, 0.2, tmp_path)
    sync({})
    sync({"mismatch_kl": 0.2})
    learner.skill = 0.8
    for _ in range(2):  # a run that was resumed may fail at the same update again
        with pytest.raises(SyncMismatch, match="not sampled from the model that learns") as stopped:
            sync({"mismatch_kl": mismatch})
        folder = tmp_path / "sync-0"
        assert str(folder) in str(stopped.value)
        assert json.loads((folder / "engine" / "scripted.json").read_text())["skill"] != 0.8
        assert json.loads((folder / "learner" / "skill.json").read_text())["skill"] == 0.8
        assert json.loads((folder / "scores.json").read_text())["probes"] == [list(pair) for pair in PROBES]


def test_a_stale_layer_of_the_torch_engine_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = load_tiny()
    engine = TorchEngine(model, tokenizer, dtype=torch.float32, batch_rows=8, max_prompt_length=64)
    learner = TorchLearner(model, Training(), pad_id=tokenizer.pad_token_id)
    text = tokenizer.encode("deduce\ndef f(x):\n    return x + 1\nin 3\nout 4")
    sync = Sync(engine, learner, [(text[:-1], text[-1:]), (text[:5], text[5:])], 1e-5, 0.1, tmp_path)
    assert sync({})["sync/worst"] <= 1e-5

    honest, stale = engine.sync, "model.layers.2.mlp.down_proj.weight"
    old = learner.weights()[stale].clone()
    monkeypatch.setattr(engine, "sync", lambda weights: honest({**weights, stale: old}))
    with torch.no_grad():
        learner.weights()[stale].mul_(1.01)  # as an update might
    with pytest.raises(SyncMismatch, match="disagree after a sync"):
        sync({})
    saved, ours = (
        load_file(tmp_path / "sync-0" / f) for f in ("engine/engine.safetensors", "learner/model.safetensors")
    )
    assert torch.equal(saved["layers.2.down"], old)
    assert torch.equal(saved["layers.1.down"], ours["model.layers.1.mlp.down_proj.weight"])
    assert torch.equal(ours[stale], old * 1.01)

    def misnamed(weights: object) -> None:
        raise ValueError("unknown weights: x")

    monkeypatch.setattr(engine, "sync", misnamed)
    with pytest.raises(
        SyncMismatch, match="does not take the learner's weights: unknown weights: x; both were"
    ):
        sync({})


def test_seeds_are_blake2b_of_the_key() -> None:
    digest = hashlib.blake2b(b"42\x007\x00propose", digest_size=8).digest()
    expected = sum(byte << (8 * i) for i, byte in enumerate(digest)) >> 1
    assert derive(42, 7, "propose") == expected
    assert derive(4, 27, "propose") != expected


def test_seeds_do_not_depend_on_the_process() -> None:
    program = "from azrl.seeding import derive; print(derive(42, 'a', -1))"
    assert int(printed(program)) == derive(42, "a", -1)


@given(st.lists(st.one_of(st.integers(), st.text(alphabet="abc")), min_size=1, max_size=4))
def test_any_key_gives_a_seed_of_63_bits(key: list[int | str]) -> None:
    assert 0 <= derive(*key) < 1 << 63


def test_generators_of_one_key_agree_and_of_two_do_not() -> None:
    np.testing.assert_array_equal(generator(1, 2, "x").random(5), generator(1, 2, "x").random(5))
    assert not np.array_equal(generator(1, 2, "x").random(5), generator(1, 3, "x").random(5))
