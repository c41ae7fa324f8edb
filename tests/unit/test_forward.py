"""The lean forward pass is the transformers module, numbers and gradients."""

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from azrl.models.forward import hidden_states, logits

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "attn_implementation": "sdpa",
}


def build(name, tied=True):
    torch.manual_seed(0)
    if name == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=tied))
    elif name == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**SHAPE, tie_word_embeddings=tied, head_dim=16))
    else:
        model = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=tied))
    with torch.no_grad():  # so that biases and norm weights matter
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def lean(model, ids, allowed=None, dtype=torch.float32):
    positions = torch.arange(ids.shape[1]).expand(ids.shape)
    everywhere = torch.arange(ids.numel())
    found = logits(model, hidden_states(model, ids, positions, allowed, dtype, everywhere), dtype)
    return found.view(*ids.shape, -1)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", ["qwen2", "qwen3", "llama"])
def test_logits_and_gradients_equal_the_module(name, tied):
    model = build(name, tied)
    ids = torch.randint(0, 64, (3, 17))
    cotangent = torch.randn(3, 17, 64)
    want = model(input_ids=ids).logits
    gradients = torch.autograd.grad(want, model.parameters(), cotangent)
    causal = torch.ones(17, 17, dtype=torch.bool).tril().expand(3, 17, 17)
    for allowed in (None, causal):
        got = lean(model, ids, allowed)
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
        for ours, theirs in zip(
            torch.autograd.grad(got, model.parameters(), cotangent), gradients, strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_bfloat16_errs_no_more_than_autocast_does(name):
    model = build(name)
    ids = torch.randint(0, 64, (8, 40))
    with torch.no_grad():
        want = model(input_ids=ids).logits
        with torch.autocast("cpu", torch.bfloat16):
            autocast = model(input_ids=ids).logits.float()
        error = (lean(model, ids, dtype=torch.bfloat16) - want).pow(2).mean()
    assert 0 < error < 2 * (autocast - want).pow(2).mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_lies_to_the_right_does_not_matter(dtype):
    model = build("qwen2")
    ids = torch.randint(0, 64, (2, 20))
    other = ids.clone()
    other[:, 12:] = 0
    with torch.no_grad():
        assert torch.equal(lean(model, ids, dtype=dtype)[:, :12], lean(model, other, dtype=dtype)[:, :12])
