"""What a learner of real models must bear: adapters, little memory, bfloat16, odd architectures."""

import json
import logging

import pytest
import torch
from plain_policy import advantages, build, draw
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

from azrl.config import ConfigError, load_config
from azrl.config.schema import Training
from azrl.errors import UserError
from azrl.models.attention import take_packed
from azrl.rl.learner import TorchLearner
from azrl.rl.memory import OutOfMemory
from azrl.rl.types import Sample

PAIRS = [((1, 2, 3), (4, 5)), ((1, 2, 3), (9,)), ((7,), (8, 9, 1))]


def learner(model=None, *, dtype=torch.float32, on_failure=None, seed=0, **settings):
    given = {"learning_rate": 1e-3, "minibatches": 1} | settings
    return TorchLearner(
        model or build(), Training(**given), pad_id=0, dtype=dtype, on_failure=on_failure, seed=seed
    )


def samples(count=12, seed=0):
    drawn = draw(count, seed=seed)
    worth = advantages("reinforce++", drawn)
    return [Sample(*row[:3], float(a), row[4]) for row, a in zip(drawn, worth, strict=True)]


def same(one, other, atol=0.0):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=atol)


@pytest.mark.parametrize(("batching", "minibatches"), [("packed", 2), ("padded", 1)])
def test_updates_are_the_same_however_rows_are_laid(batching, minibatches):
    """Several steps with every term. (Without shared rows minibatches are cut elsewhere, so `padded` takes one.)"""
    found = []
    for how in ("shared", batching):
        subject = learner(
            batching=how, micro_batch_tokens=80, minibatches=minibatches, use_kl=True, entropy_coeff=0.01
        )
        metrics = [subject.update(samples(seed=seed), seed=seed) for seed in range(2)]
        found.append((metrics, subject.score(PAIRS)))
    (told, wanted), (heard, scores) = found
    for ours, theirs in zip(heard, told, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    for mine, other in zip(scores, wanted, strict=True):
        assert mine == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_an_engine_gets_the_sum(kind):
    """A plain model with `weights()` scores as the adapted one does; without steps it is the base model itself."""
    subject = learner(build(kind), lora_rank=2)
    base = dict(build(kind).named_parameters())
    same(dict(subject.weights()), base)
    subject.update(samples(), seed=0)
    plain = build(kind)
    with torch.no_grad():
        for name, tensor in subject.weights().items():
            plain.get_parameter(name).copy_(tensor)
    for ours, theirs in zip(subject.score(PAIRS), learner(plain).score(PAIRS), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    changed = {n for n, w in subject.weights().items() if not torch.equal(w, base[n])}
    assert len(changed) == 14  # the matrices of two blocks, nothing else


def test_adapters_are_a_function_of_the_seed_alone():
    torch.manual_seed(1)
    one = learner(lora_rank=2, seed=4)
    state = torch.get_rng_state()
    other, third = learner(lora_rank=2, seed=4), learner(lora_rank=2, seed=5)
    assert torch.equal(state, torch.get_rng_state())
    matrices = [dict(subject.model.named_parameters()) for subject in (one, other, third)]
    down = "model.layers.0.mlp.up_proj.lora_A.default.weight"
    assert torch.equal(matrices[0][down], matrices[1][down])
    assert not torch.equal(matrices[0][down], matrices[2][down])


def test_only_the_modules_asked_for_are_adapted():
    subject = learner(lora_rank=2, lora_targets=["q_proj", "v_proj"])
    adapted = {name.split(".")[4] for name, _ in subject.model.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "v_proj"}
    with pytest.raises(UserError, match="lora_targets"):
        learner(lora_rank=2, lora_targets=["no_such_proj"])


def test_the_reference_of_adapters_is_the_base_model():
    subject = learner(lora_rank=2, use_kl=True, kl_coeff=0.5, learning_rate=1e-2)
    assert subject.update(samples(), seed=0)["kl_reference"] == 0.0
    assert subject.update(samples(), seed=1)["kl_reference"] > 0
    start = learner().score(PAIRS)
    for i, ours in subject.reference_scores(PAIRS).items():
        assert ours.tolist() == pytest.approx(start[i], abs=1e-6)


@pytest.mark.parametrize(
    "settings",
    [{"lora_rank": 2}, {"optimizer_offload": True}, {"optimizer_offload": True, "weights_dtype": "bfloat16"}],
)
def test_resume_is_bit_for_bit(tmp_path, settings):
    dtype = torch.bfloat16 if "weights_dtype" in settings else torch.float32
    one = learner(dtype=dtype, **settings)
    for step in range(2):
        one.update(samples(seed=step), seed=step)
    one.save(tmp_path)
    other = learner(seed=9, dtype=dtype, **settings)
    other.load(tmp_path)
    assert other.version == 2
    for step in (2, 3):
        assert one.update(samples(seed=step), seed=step) == other.update(samples(seed=step), seed=step)
    same(dict(one.weights()), dict(other.weights()))


def test_saved_adapters_are_what_peft_reads(tmp_path):
    from peft import PeftModel

    subject = learner(lora_rank=2)
    subject.update(samples(), seed=0)
    subject.save(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    merged = PeftModel.from_pretrained(build(), tmp_path).merge_and_unload()
    same(dict(merged.named_parameters()), dict(subject.weights()), atol=1e-6)


def test_whole_weights_and_adapters_are_not_taken_for_one_another(tmp_path):
    learner(lora_rank=2).save(tmp_path / "adapters")
    learner().save(tmp_path / "whole")
    with pytest.raises(ValueError, match="holds adapters"):
        learner().load(tmp_path / "adapters")
    with pytest.raises(ValueError, match="holds whole weights"):
        learner(lora_rank=2).load(tmp_path / "whole")
    with pytest.raises(ValueError, match="another model"):
        learner(lora_rank=3).load(tmp_path / "adapters")


def test_an_offloaded_optimizer_takes_the_same_steps():
    one, other = learner(weight_decay=0.1), learner(weight_decay=0.1, optimizer_offload=True)
    for step in range(3):
        assert one.update(samples(seed=step), seed=step) == other.update(samples(seed=step), seed=step)
    same(dict(one.weights()), dict(other.weights()))


def test_small_steps_are_not_lost_in_bfloat16_weights():
    """A thousandth of a bfloat16 step a time moves the float32 copies, and in the end the weights."""
    subject = learner(
        dtype=torch.bfloat16, weights_dtype="bfloat16", optimizer_offload=True, learning_rate=2e-5
    )
    before = {name: tensor.clone() for name, tensor in subject.weights().items()}
    assert {tensor.dtype for tensor in before.values()} == {torch.bfloat16}
    for step in range(20):
        subject.update(samples(), seed=step)
    name = "model.norm.weight"
    masters = dict(zip(before, subject.optimizer.param_groups[0]["params"], strict=True))
    assert masters[name].dtype == torch.float32
    assert (masters[name] - before[name].float()).abs().max() > 1e-4
    assert torch.equal(subject.weights()[name], masters[name].to(torch.bfloat16))


def test_bfloat16_weights_need_something_exact_beside_them():
    with pytest.raises(ConfigError, match="needs lora_rank above 0 or optimizer_offload"):
        load_config(overrides=["training.weights_dtype=bfloat16"])
    with pytest.raises(UserError, match=r"engine\.dtype=bfloat16"):
        learner(weights_dtype="bfloat16", lora_rank=2)


def full_memory(subject, limit):
    """Let the model's blocks run out of memory above `limit` tokens."""
    seen = []

    def refuse(module, args, kwargs):
        tokens = (args[0] if args else kwargs["hidden_states"]).shape[:2].numel()
        seen.append(tokens)
        if tokens > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    subject.model.base_model.layers[1].register_forward_pre_hook(refuse, with_kwargs=True)
    return seen


@pytest.mark.parametrize("batching", ["shared", "packed"])
def test_memory_runs_out_and_the_step_goes_on(batching, caplog):
    """In the middle of a step, after gradients of earlier micro-batches: the same step in smaller ones."""
    settings = {"batching": batching, "micro_batch_tokens": 4096, "ppo_epochs": 2, "minibatches": 2}
    wanted = learner(build("llama"), **settings)
    told = wanted.update(samples(), seed=0)
    subject = learner(build("llama"), **settings)
    seen = full_memory(subject, 60)
    with caplog.at_level(logging.WARNING):
        found = subject.update(samples(), seed=0)
    assert "out of memory" in caplog.text
    assert max(seen) > 60 >= seen[-1]
    assert found == pytest.approx(told, rel=1e-4, abs=1e-6)
    same(dict(subject.weights()), dict(wanted.weights()), atol=1e-5)
    tried = len(seen)
    subject.update(samples(), seed=1)
    assert max(seen[tried:]) <= 60  # it is remembered


def test_memory_that_holds_no_row_stops_with_the_batch_saved(tmp_path):
    subject = learner(build("llama"), on_failure=tmp_path)
    before = {name: tensor.clone() for name, tensor in subject.weights().items()}
    full_memory(subject, 5)
    with pytest.raises(OutOfMemory, match="gradient_checkpointing=true") as caught:
        subject.update(samples(), seed=0)
    [path] = tmp_path.iterdir()
    assert str(path) in str(caught.value)
    assert len(json.loads(path.read_text())["samples"]) == 12
    assert subject.version == 0
    same(dict(subject.weights()), before)
    assert all(parameter.grad is None for parameter in subject.model.parameters())


def test_other_errors_are_not_taken_for_full_memory():
    subject = learner(build("llama"))

    def fail(*_):
        raise RuntimeError("a kernel failed")

    subject.model.base_model.layers[0].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="a kernel failed"):
        subject.update(samples(), seed=0)


SMALL = {"vocab_size": 48, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=48, n_embd=32, n_layer=2, n_head=4, n_positions=64))


def mistral(window):
    torch.manual_seed(0)
    config = MistralConfig(**SMALL, num_key_value_heads=2, intermediate_size=48, sliding_window=window)
    return MistralForCausalLM(config)


@pytest.mark.parametrize("batching", ["padded", "shared", "packed"])
def test_other_architectures_train(batching):
    """GPT-2: learned positions, one matrix for query, key and value, dropout (which stays off)."""
    one, other = learner(gpt2(), batching=batching), learner(gpt2(), batching="padded")
    for step in range(2):
        ours, theirs = (subject.update(samples(), seed=step) for subject in (one, other))
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


def test_a_model_that_looks_through_a_window_trains_in_rows_of_its_own():
    for batching in ("shared", "packed"):
        with pytest.raises(UserError, match=r"sliding_attention.*training\.batching=padded"):
            learner(mistral(4), batching=batching)
    subject = learner(mistral(4), batching="padded")
    assert subject.update(samples(), seed=0)["loss"] != 0
    learner(mistral(None), batching="packed").update(samples(), seed=0)


def test_a_head_that_does_more_than_multiply_is_refused():
    model = build("llama")
    forward = model.forward

    def softly(**given):
        found = forward(**given)
        found.logits = 2.0 * (found.logits / 2.0).tanh()
        return found

    model.forward = softly
    with pytest.raises(UserError, match="other log-probabilities when trained"):
        learner(model)


def test_attention_of_its_own_is_refused_for_packed_rows(monkeypatch):
    model = build("llama")
    monkeypatch.setattr(type(model), "_supports_attention_backend", False)
    with pytest.raises(UserError, match=r"attention of its own.*training\.batching=padded"):
        learner(model, batching="packed")


def test_attention_without_the_packing_is_refused():
    model = build("llama")
    take_packed(model)
    with pytest.raises(ValueError, match="does not hand packed rows on"):
        model(input_ids=torch.tensor([[1, 2, 3]]))


def test_what_is_saved_after_packing_loads_anywhere(tmp_path):
    learner(build("llama"), batching="packed").save(tmp_path)
    assert "azrl" not in (tmp_path / "config.json").read_text()
    AutoModelForCausalLM.from_pretrained(tmp_path)(input_ids=torch.tensor([[1, 2, 3]]))
