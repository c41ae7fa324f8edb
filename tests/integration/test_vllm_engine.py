"""vLLM in this process against transformers: tokens, log-probabilities, seeds, weights taken in place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from vllm_here import MARKS, assert_greedy_as_transformers, loaded, perturb, prompts, random_model, scores

from azrl.config.schema import Training
from azrl.engine import Request, SyncMismatch
from azrl.engine.vllm.engine import VllmEngine
from azrl.engine.vllm.local import LocalHost
from azrl.errors import UserError
from azrl.models.load import located
from azrl.rl.learner import TorchLearner
from azrl.selfplay.sync import Sync

pytestmark = MARKS


class Served:
    """A model, and vLLM serving it."""

    def __init__(self, name: str) -> None:
        self.model, self.tokenizer = loaded(name)
        self.host = LocalHost(
            model=located(name)[0],
            dtype="float32",
            batch_rows=32,
            longest=448,
            cache_gb=0.25,
            memory_share=0.5,
            sleeps=True,
        )
        self.engine = VllmEngine(self.host, self.tokenizer, max_prompt_length=384)
        self.engine.sync(dict(self.model.named_parameters()))


@pytest.fixture(scope="module", params=["tiny", "random"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The shipped tiny model (Qwen2, tied) and a random one (Qwen3, untied)."""
    name = request.param
    if name == "random":
        name = str(random_model(tmp_path_factory.mktemp("random")))
    found = Served(name)
    yield found
    found.engine.close()
    found.engine.close()  # a second time does nothing


def test_greedy_equals_transformers_before_and_after_updates(served: Served) -> None:
    assert_greedy_as_transformers(served.engine, served.model)
    for seed in (1, 2):
        before = served.engine.generate([Request(prompts(1)[0], max_tokens=16, temperature=0.0)])
        perturb(served.model, seed)
        after = served.engine.generate([Request(prompts(1)[0], max_tokens=16, temperature=0.0)])
        assert before == after  # training changes nothing until the sync
        served.engine.sync(dict(served.model.named_parameters()))
        assert_greedy_as_transformers(served.engine, served.model)


def test_a_sample_depends_on_its_seed_alone(served: Served) -> None:
    requests = [
        Request(text, max_tokens=4 + 3 * i, n=1 + i % 4, temperature=(1.0, 0.7)[i % 2], top_p=(1.0, 0.9)[i % 2], seed=i)
        for i, text in enumerate(prompts(10))
    ]  # fmt: skip
    together = served.engine.generate(requests)
    assert [[c.token_ids for c in group] for group in served.engine.generate(requests)] == [
        [c.token_ids for c in group] for group in together
    ]
    for request, group in list(zip(requests, together, strict=True))[3:6]:
        [alone] = served.engine.generate([request])
        assert [c.token_ids for c in alone] == [c.token_ids for c in group]
    [siblings] = served.engine.generate(
        [Request(prompts(1)[0], max_tokens=24, n=16, temperature=1.5, seed=5)]
    )
    assert len({c.token_ids for c in siblings}) > 4


def test_completions_say_what_they_cost_and_why_they_ended(served: Served) -> None:
    """Log-probabilities are the model's at temperature 1, whatever the tokens were drawn at."""
    end = served.tokenizer.eos_token_id
    requests = [
        Request(text, max_tokens=1 + 4 * i, n=2, temperature=(0.5, 1.0, 1.3)[i % 3], top_p=(0.8, 1.0)[i % 2], seed=i)
        for i, text in enumerate(prompts(9))
    ]  # fmt: skip
    for index, group in served.engine.stream(requests):
        assert len(group) == 2
        for c in group:
            assert c.prompt_ids == tuple(served.tokenizer.encode(requests[index].prompt))
            assert c.logprobs == pytest.approx(
                scores(served.model, c.prompt_ids, c.token_ids), abs=1e-5, rel=1e-5
            )
            assert len(c.token_ids) <= requests[index].max_tokens
            assert end not in c.token_ids[:-1]
            assert c.finish == ("stop" if c.token_ids[-1] == end else "length")


def test_groups_come_as_they_finish_and_prompts_are_shared(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached: list[int] = []
    engine = served.host._llm.llm_engine
    step = engine.step

    def counting() -> list[Any]:
        outputs = step()
        cached.extend(output.num_cached_tokens for output in outputs)
        return outputs

    monkeypatch.setattr(engine, "step", counting)
    text = max(prompts(30), key=len)
    stream = served.engine.stream([Request(text, max_tokens=m, n=4, temperature=0.0) for m in (40, 1)])
    first, group = next(stream)
    assert first == 1  # it was asked for last, and is short
    assert len(group) == 4
    with pytest.raises(RuntimeError, match="in the middle of a generation"):
        served.engine.sync(dict(served.model.named_parameters()))
    stream.close()
    assert not engine.has_unfinished_requests()
    assert max(cached) >= len(served.tokenizer.encode(text)) // 32 * 32 - 32 > 0


def test_requests_that_cannot_be_served_are_refused_before_any_is(served: Served) -> None:
    good = Request("a", max_tokens=4)
    for bad, message in (
        (Request("a" * 400, max_tokens=4), "request 1: prompt of 401 tokens"),
        (Request("a", max_tokens=0), "request 1: max_tokens"),
        (Request("a", max_tokens=4, temperature=2.5), "request 1: vLLM takes temperatures up to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            served.engine.stream([good, bad])
    with pytest.raises(ValueError, match="empty prompt"):
        served.engine.score([([], [1])])


def test_weights_that_do_not_fit_are_refused(served: Served) -> None:
    good = dict(served.model.named_parameters())
    name = "model.layers.1.mlp.down_proj.weight"
    for bad, message in (
        ({key: value for key, value in good.items() if key != name}, f"no weights for {name}"),
        (good | {"model.layers.1.nonsense.weight": torch.zeros(1)}, "do not fit|no module or parameter"),
        (good | {name: good[name][:-1]}, "do not fit"),
    ):
        with pytest.raises(ValueError, match=message):
            served.engine.sync(bad)
    served.engine.sync(good)


def test_a_stale_layer_stops_the_run_with_both_saved(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = TorchLearner(served.model, Training(), pad_id=served.tokenizer.pad_token_id)
    text = prompts(3)
    probes = [(served.tokenizer.encode(t), served.tokenizer.encode("[1, 2]")[1:]) for t in text]
    sync = Sync(served.engine, learner, probes, 1e-5, 0.1, tmp_path)
    assert sync({"mismatch_kl": 0.01})["sync/worst"] <= 1e-5

    honest, stale = served.engine.sync, "model.layers.1.mlp.down_proj.weight"

    def forgetful(weights: Any) -> None:
        """All but one layer, which keeps what it had; vLLM itself says that all went well."""
        held = served.host._llm.apply_model(lambda m: dict(m.named_parameters())[stale].detach().clone())[0]
        honest(weights)
        served.host._llm.apply_model(lambda m: dict(m.named_parameters())[stale].data.copy_(held))

    monkeypatch.setattr(served.engine, "sync", forgetful)
    with torch.no_grad():
        dict(served.model.named_parameters())[stale].mul_(1.01)  # as an update might
    with pytest.raises(SyncMismatch, match="disagree after a sync") as stopped:
        sync({})
    folder = tmp_path / "sync-0"
    assert str(folder) in str(stopped.value)
    saved, ours = (
        load_file(folder / "engine" / "vllm.safetensors"),
        load_file(folder / "learner" / "model.safetensors"),
    )
    assert torch.allclose(saved[stale] * 1.01, ours[stale], atol=1e-6)
    assert torch.equal(
        saved["model.layers.2.mlp.down_proj.weight"], ours["model.layers.2.mlp.down_proj.weight"]
    )
    said = json.loads((folder / "scores.json").read_text())
    assert len(said["engine"]) == len(said["learner"]) == len(probes)
    monkeypatch.undo()
    assert sync({})["sync/worst"] <= 1e-5


def test_a_model_that_vllm_cannot_serve_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["NoSuchForCausalLM"], "model_type": "nosuch"}')
    with pytest.raises(UserError, match="vLLM does not start with") as refused:
        LocalHost(
            model=str(tmp_path), dtype="float32", batch_rows=4, longest=64, cache_gb=0.25, memory_share=0.5, sleeps=True
        )  # fmt: skip
    assert "\n" not in str(refused.value)
