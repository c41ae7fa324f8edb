"""The embedded engine against transformers: same tokens, same log-probabilities, same distribution."""

import random

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from azrl.engine import Request, SyncMismatch, prove_sync
from azrl.engine.sampling import invert, nucleus
from azrl.engine.torch_engine import TorchEngine
from azrl.engine.weights import auto_dtype

VOCAB, EOS = 128, 0


class Letters:
    """Token i is the character of code point i."""

    eos_token_id = EOS
    pad_token_id = EOS

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def build(family: str = "qwen2", *, seed: int = 0, std: float = 0.3, **changes):
    """A small random model, wide enough in its weights that logits differ clearly."""
    torch.manual_seed(seed)
    config_of, model_of = {
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
        "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    }[family]
    settings = {
        "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 128,
        "tie_word_embeddings": True, "initializer_range": std, "eos_token_id": EOS, "pad_token_id": EOS,
    }  # fmt: skip
    model = model_of(config_of(**(settings | changes))).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.copy_(torch.randn_like(parameter) * 0.3 + (1.0 if "norm" in name else 0.0))
    return model


def engine_of(model, *, dtype=torch.float32, batch_rows=16, max_prompt_length=64) -> TorchEngine:
    return TorchEngine(
        model, Letters(), dtype=dtype, batch_rows=batch_rows, max_prompt_length=max_prompt_length
    )


def prompts(count: int, *, seed: int = 0, longest: int = 40) -> list[str]:
    rng = random.Random(seed)
    return [
        "".join(chr(rng.randrange(1, VOCAB)) for _ in range(rng.randint(1, longest))) for _ in range(count)
    ]


def reference_scores(model, prompt_ids, token_ids, temperature=1.0) -> list[float]:
    ids = torch.tensor([[*prompt_ids, *token_ids]])
    with torch.no_grad():
        logprobs = (model(ids).logits[0].float() / temperature).log_softmax(-1)
    at = range(len(prompt_ids) - 1, ids.shape[1] - 1)
    return [logprobs[i, token].item() for i, token in zip(at, token_ids, strict=True)]


VARIANTS = {
    "qwen2-mqa-tied": ("qwen2", {}),
    "qwen2-gqa-untied": ("qwen2", {"num_key_value_heads": 2, "tie_word_embeddings": False}),
    "qwen2-rope-theta": ("qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}),
    "qwen2-rope-linear": (
        "qwen2", {"rope_parameters": {"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0}}
    ),
    "qwen3-mha": ("qwen3", {"num_key_value_heads": 4, "head_dim": 16}),
    "qwen3-gqa-bias-untied": (
        "qwen3", {"num_key_value_heads": 2, "attention_bias": True, "tie_word_embeddings": False}
    ),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_greedy_equals_transformers_before_and_after_sync(variant):
    family, changes = VARIANTS[variant]
    model, other = build(family, **changes), build(family, seed=1, **changes)
    engine = engine_of(model, batch_rows=8)
    for current in (model, other):
        if current is other:
            engine.sync(dict(other.named_parameters()))
        texts = prompts(20)
        groups = engine.generate([Request(text, max_tokens=24, temperature=0.0) for text in texts])
        for text, [completion] in zip(texts, groups, strict=True):
            ids = torch.tensor([Letters().encode(text)])
            ours = current.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
            )
            assert completion.token_ids == tuple(ours[0, ids.shape[1] :].tolist())
            expected = reference_scores(current, completion.prompt_ids, completion.token_ids)
            assert completion.logprobs == pytest.approx(expected, abs=1e-4)
            assert completion.finish == ("stop" if completion.token_ids[-1] == EOS else "length")
            assert chr(EOS) not in completion.text


def test_training_the_module_changes_nothing_until_sync():
    model = build()
    engine, requests = engine_of(model), [Request(text, max_tokens=8, n=2) for text in prompts(4)]
    before = engine.generate(requests)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    assert engine.generate(requests) == before
    engine.sync(dict(model.named_parameters()))
    assert engine.generate(requests) != before


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_score_equals_the_forward_pass(family):
    model = build(family)
    rng = random.Random(3)
    pairs = [
        (
            [rng.randrange(VOCAB) for _ in range(rng.randint(1, 30))],
            [rng.randrange(VOCAB) for _ in range(rng.randint(1, 20))],
        )
        for _ in range(25)
    ]
    pairs.insert(7, ([1, 2], []))
    for scores, (prompt, tokens) in zip(engine_of(model).score(pairs), pairs, strict=True):
        assert scores == pytest.approx(reference_scores(model, prompt, tokens), abs=1e-4)


def test_score_of_many_batches_keeps_the_order(monkeypatch):
    monkeypatch.setattr("azrl.engine.decode._SCORE_TOKENS", 64)
    monkeypatch.setattr("azrl.engine.network._PREFILL_CELLS", 64)
    engine = engine_of(build())
    groups = engine.generate(
        [Request(text, max_tokens=20, n=3, seed=i) for i, text in enumerate(prompts(12))]
    )
    done = [completion for group in groups for completion in group]
    scores = engine.score([(completion.prompt_ids, completion.token_ids) for completion in done])
    for completion, score in zip(done, scores, strict=True):
        assert completion.logprobs == pytest.approx(score, abs=1e-4)


def test_samples_do_not_depend_on_the_batch_and_finished_rows_leave_it():
    model = build(std=0.1)
    with torch.no_grad():
        model.model.embed_tokens.weight[EOS] *= 0.0
        model.model.norm.weight.mul_(2.0)
    requests = [
        Request(text, max_tokens=5 + 7 * i % 40, n=1 + i % 4, seed=100 + i,
                temperature=(1.0, 0.7, 0.0, 1.3)[i % 4], top_p=(1.0, 0.9)[i % 2])
        for i, text in enumerate(prompts(24))
    ]  # fmt: skip
    together = engine_of(model, batch_rows=100).generate(requests)
    alone = engine_of(model, batch_rows=1)
    for request, group in zip(requests, together, strict=True):
        [single] = alone.generate([request])
        assert [completion.token_ids for completion in single] == [
            completion.token_ids for completion in group
        ]
        for one, other in zip(single, group, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert len(other.token_ids) <= request.max_tokens
            assert EOS not in other.token_ids[:-1]
            of_draw = request.temperature or 1.0  # greedy rows give the probabilities at temperature 1
            expected = reference_scores(model, other.prompt_ids, other.token_ids, of_draw)
            assert other.logprobs == pytest.approx(expected, abs=1e-4)
    lengths = {len(completion.token_ids) for group in together for completion in group}
    finishes = {completion.finish for group in together for completion in group}
    assert len(lengths) > 8
    assert finishes == {"stop", "length"}


def test_finished_rows_are_compacted_out(monkeypatch):
    from azrl.engine.network import Cache

    sizes: list[int] = []
    step = Cache.step
    monkeypatch.setattr(
        Cache, "step", lambda self, tokens: (sizes.append(len(tokens)), step(self, tokens))[1]
    )
    engine_of(build(), batch_rows=64).generate([Request("ab", max_tokens=3 + i, seed=i) for i in range(32)])
    assert sizes[0] == 32
    assert sizes[-1] < 8


def test_stream_yields_in_order_in_batches_of_rows(monkeypatch):
    import azrl.engine.torch_engine as module

    calls: list[int] = []
    decode = module.decode
    monkeypatch.setattr(module, "decode", lambda *args: (calls.append(len(args[3])), decode(*args))[1])
    engine = engine_of(build(), batch_rows=8)
    stream = engine.stream(
        [Request(text, max_tokens=3, n=n) for text, n in zip("abcde", (3, 5, 4, 20, 1), strict=True)]
    )
    first, second = next(stream), next(stream)
    assert calls == [8]
    assert [index for index, _ in (first, second, *stream)] == [0, 1, 2, 3, 4]
    assert calls == [8, 4, 20, 1]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 1.0), (1.0, 0.8), (1.4, 0.9)])
def test_sampling_follows_the_softmax(temperature, top_p):
    model = build(vocab_size=12, std=0.5)
    n = 6000
    [group] = engine_of(model, batch_rows=n).generate(
        [Request("\1\2\3", max_tokens=1, n=n, temperature=temperature, top_p=top_p, seed=9)]
    )
    with torch.no_grad():
        logits = model(torch.tensor([[1, 2, 3]])).logits[0, -1].double()
    probs = (logits / temperature).softmax(-1).numpy()
    order = np.argsort(-probs)
    keep = order[: int(np.searchsorted(np.cumsum(probs[order]), top_p)) + 1]
    expected = np.zeros_like(probs)
    expected[keep] = probs[keep] / probs[keep].sum()
    counts = np.bincount([completion.token_ids[0] for completion in group], minlength=12)
    assert counts[expected == 0].sum() == 0
    likely = expected * n > 5
    chi = float(((counts - expected * n)[likely] ** 2 / (expected * n)[likely]).sum())
    assert likely.sum() > 3
    assert chi < 32  # the 0.1 % point of 11 degrees of freedom is 31.3
    policy = (logits / temperature).log_softmax(-1)
    for completion in group[:50]:
        assert completion.logprobs[0] == pytest.approx(policy[completion.token_ids[0]].item(), abs=1e-4)


def test_impossible_tokens_are_never_drawn():
    probs = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).repeat(3, 1)
    draws = invert(probs, torch.tensor([0.0, 0.5, 1 - 2.0**-23]))
    assert draws.tolist() == [1, 3, 3]
    tiny = torch.full((1, 50_000), 3e-5)
    tiny[0, -1] = 0.0
    assert invert(tiny, torch.tensor([1 - 2.0**-23])).item() == 49_998


def test_nucleus_keeps_the_smallest_set_that_reaches_the_mass():
    probs = torch.tensor([[0.1, 0.5, 0.25, 0.15]])
    assert nucleus(probs, torch.tensor([[0.5]])).tolist() == [[0.0, 0.5, 0.0, 0.0]]
    assert nucleus(probs, torch.tensor([[0.6]])).tolist() == [[0.0, 0.5, 0.25, 0.0]]
    assert nucleus(probs, torch.tensor([[1e-9]])).count_nonzero() == 1
    assert torch.equal(nucleus(probs, torch.tensor([[1.0]])), probs)


def test_bfloat16_stays_near_the_float32_policy():
    model = build(std=0.1)
    engine = engine_of(model, dtype=torch.bfloat16)
    groups = engine.generate([Request(text, max_tokens=20, n=2, seed=i) for i, text in enumerate(prompts(8))])
    done = [completion for group in groups for completion in group]
    pairs = [(completion.prompt_ids, completion.token_ids) for completion in done]
    learner = [reference_scores(model, *pair) for pair in pairs]
    prove_sync(engine.score(pairs), learner, worst=0.5, mean=0.05)
    prove_sync([completion.logprobs for completion in done], learner, worst=0.5, mean=0.05)
    assert auto_dtype() in (torch.bfloat16, torch.float32)


def test_the_proof_sees_one_stale_layer():
    model = build()
    engine = engine_of(model)
    stale = {name: value.clone() for name, value in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    pairs = [([1, 2, 3], [4, 5, 6, 7]), ([9], [8, 7])]
    learner = [reference_scores(model, *pair) for pair in pairs]
    fresh = dict(model.named_parameters())
    engine.sync(fresh)
    report = prove_sync(engine.score(pairs), learner, worst=1e-3, mean=1e-4)
    assert report["tokens"] == 6
    assert report["worst"] < 1e-4
    mixed = {name: stale[name] if ".layers.1." in name else value for name, value in fresh.items()}
    engine.sync(mixed)
    with pytest.raises(SyncMismatch, match="worst"):
        prove_sync(engine.score(pairs), learner, worst=1e-3, mean=1e-4)


def test_the_proof_judges_worst_mean_and_nonsense():
    same = {"worst": 0.5, "mean": 0.25, "tokens": 2}
    assert prove_sync([[-0.5, -2.0]], [[-1.0, -2.0]], worst=0.5, mean=0.25) == same
    assert (
        prove_sync([[-5.0, -2.0]], [[-10.0, -2.0]], worst=0.5, mean=0.25) == same
    )  # relative beyond one nat
    for worst, mean in ((0.4, 1.0), (1.0, 0.2)):
        with pytest.raises(SyncMismatch):
            prove_sync([[-0.5, -2.0]], [[-1.0, -2.0]], worst=worst, mean=mean)
    with pytest.raises(SyncMismatch):
        prove_sync([[float("nan"), -1.0]], [[-1.0, -1.0]], worst=9.0, mean=9.0)
    with pytest.raises(ValueError, match="no tokens"):
        prove_sync([[]], [[]], worst=1.0, mean=1.0)
    with pytest.raises(ValueError, match="different"):
        prove_sync([[-1.0]], [[-1.0, -1.0]], worst=1.0, mean=1.0)


def test_sync_refuses_what_does_not_fit_and_keeps_the_old_weights():
    model = build()
    engine, requests = engine_of(model), [Request("ab", max_tokens=6)]
    before, good = engine.generate(requests), dict(build(seed=1).named_parameters())
    name = "model.layers.1.mlp.down_proj.weight"
    for bad, message in (
        ({key: value for key, value in good.items() if key != name}, f"missing weights: {name}"),
        (good | {"model.layers.9.x": torch.zeros(1)}, "unknown weights: model.layers.9.x"),
        (good | {name: good[name].T}, f"misshapen weights: {name}"),
    ):
        with pytest.raises(ValueError, match=message):
            engine.sync(bad)
    assert engine.generate(requests) == before
    engine.sync(good | {"lm_head.weight": good["model.embed_tokens.weight"]})
    assert engine.generate(requests) != before


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("a" * 65, max_tokens=1), "request 1: prompt of 65 tokens, allowed 1 to 64"),
        (Request("", max_tokens=1), "prompt of 0 tokens"),
        (Request("a", max_tokens=0), "max_tokens"),
        (Request("a", max_tokens=1, n=0), "n must"),
        (Request("a", max_tokens=1, temperature=-1.0), "temperature"),
        (Request("a", max_tokens=1, temperature=float("nan")), "temperature"),
        (Request("a", max_tokens=1, top_p=0.0), "top_p"),
    ],
)
def test_bad_requests_are_refused_before_any_decoding(request_, message):
    engine = engine_of(build())
    with pytest.raises(ValueError, match=message):
        engine.stream([Request("a", max_tokens=1), request_])


def test_models_that_it_cannot_run_are_refused():
    with pytest.raises(ValueError, match="sliding"):
        engine_of(build(use_sliding_window=True, max_window_layers=1, sliding_window=8))
    with pytest.raises(ValueError, match="silu"):
        engine_of(build(hidden_act="gelu"))
    dynamic = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0}
    with pytest.raises(ValueError, match="dynamic"):
        engine_of(build(rope_parameters=dynamic))


def test_damaged_weights_stop_the_engine():
    model = build()
    engine = engine_of(model)
    engine.sync({name: value * float("nan") for name, value in model.named_parameters()})
    with pytest.raises(FloatingPointError, match="not finite"):
        engine.generate([Request("ab", max_tokens=4)])


def test_no_requests_give_nothing():
    engine = engine_of(build())
    assert engine.generate([]) == []
    assert engine.score([]) == []
    engine.close()
    engine.close()
