"""A run's checkpoint becomes a folder that transformers loads, with a card that says only what was seen."""

import json

import pytest
import torch
from plain_policy import advantages, build, draw
from transformers import AutoModelForCausalLM, AutoTokenizer

from azrl import cli
from azrl.config.load import load_config
from azrl.config.schema import Training
from azrl.export.card import model_card
from azrl.models.tiny import SHIPPED
from azrl.rl.learner import TorchLearner
from azrl.rl.types import Sample
from azrl.runs import CheckpointStore


def run_of(folder, *, metrics=(), **training):
    """A run's folder with one checkpoint at step 3; the weights that an engine would sample from."""
    base, run = folder / "base", folder / "run"
    build().save_pretrained(base)
    AutoTokenizer.from_pretrained(SHIPPED).save_pretrained(base)
    subject = TorchLearner(build(), Training(minibatches=1, learning_rate=1e-2, **training), pad_id=0)
    drawn = draw()
    worth = advantages("grpo", drawn)
    subject.update([Sample(*r[:3], float(a), r[4]) for r, a in zip(drawn, worth, strict=True)], seed=0)
    CheckpointStore(run / "checkpoints", 3).save(3, lambda at: subject.save(at / "model"), {})
    config = {"model": {"name": str(base)}, "run": {"name": "run"}, "training": training}
    (run / "config.resolved.yaml").write_text(json.dumps(config))
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    return run, {name: tensor.clone() for name, tensor in dict(subject.weights()).items()}


@pytest.mark.parametrize("training", [{}, {"lora_rank": 2}])
def test_the_folder_holds_what_an_engine_sampled_from(tmp_path, training, capsys):
    run, weights = run_of(tmp_path, **training)
    out = tmp_path / "new" / "out"
    assert cli.main(["export", str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    loaded = AutoModelForCausalLM.from_pretrained(out)
    named = dict(loaded.named_parameters())
    assert named.keys() == weights.keys()
    for name, tensor in named.items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=1e-6)
    assert AutoTokenizer.from_pretrained(out).eos_token_id is not None
    for file in out.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


def test_half_the_size_in_bfloat16(tmp_path):
    run, weights = run_of(tmp_path)
    assert cli.main(["export", str(run), "--out", str(tmp_path / "out"), "--dtype", "bfloat16"]) == 0
    named = dict(AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto").named_parameters())
    for name, tensor in named.items():
        assert torch.equal(tensor, weights[name].to(torch.bfloat16))


def card(rows, overrides=()):
    return model_card(load_config(overrides=overrides).config, 20, rows, "float32")


def test_the_card_says_what_was_measured_and_no_more():
    rows = [
        {"step": 0, "probe/greedy": 0.25, "probe/stderr/greedy": 0.01},
        {"step": 10, "tokens": 1500, "probe/greedy": 0.5, "probe/sampled": 0.4, "probe/stderr/greedy": 0.02},
        {"step": 20, "tokens": 500},
        {"step": 30, "tokens": 500, "probe/greedy": 0.9},
    ]
    text = card(rows, ["model.name=Qwen/Qwen2.5-0.5B", "training.lora_rank=8"])
    assert "base_model: Qwen/Qwen2.5-0.5B" in text
    assert "| tokens sampled | 2,000 |" in text
    assert "| | step 0 | step 10 |" in text
    assert "| greedy | 25.0 ± 1.0 % | 50.0 ± 2.0 % |" in text
    assert "| sampled | not measured | 40.0" in text
    assert "LoRA adapters of rank 8" in text
    assert "90.0" not in text  # that is of a later step
    assert "step 20 " not in text


def test_the_card_of_an_unmeasured_control_run():
    text = card([], ["selfplay.shuffle_rewards=true"])
    assert "never probed" in text
    assert "control run" in text
    assert "base_model" not in text


def test_what_cannot_be_exported_is_refused(tmp_path, capsys, monkeypatch):
    run, _ = run_of(tmp_path)

    def refused(*words):
        assert cli.main(["export", *map(str, words)]) == 2
        return capsys.readouterr().err

    assert "is no run's folder" in refused(tmp_path, "--out", tmp_path / "a")
    (tmp_path / "there").mkdir()
    assert "is there already" in refused(run, "--out", tmp_path / "there")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "set HF_TOKEN" in refused(run, "--out", tmp_path / "a", "--push", "me/mine")
    assert "owner/name" in refused(run, "--out", tmp_path / "a", "--push", "mine")
    assert not (tmp_path / "a").exists()
    build("llama").save_pretrained(tmp_path / "base")
    assert "belongs to another model" in refused(run, "--out", tmp_path / "a")
    assert not (tmp_path / "a").exists()
