"""The chunked head equals softmax over all logits, forwards and backwards, and never makes more of them."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from azrl.rl.head import chunked_scores


def plain(hidden, weight, bias, targets, temperature):
    table = (F.linear(hidden, weight, bias) / temperature).log_softmax(-1)
    return table.gather(1, targets[:, None])[:, 0], -(table.exp() * table).sum(-1)


@pytest.mark.parametrize("tokens", [1, 5, 23, 100])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients(tokens, bias, temperature):
    torch.manual_seed(0)
    inputs = [torch.randn(23, 8), torch.randn(31, 8), *([torch.randn(31)] if bias else [])]
    given = [tensor.double().requires_grad_() for tensor in inputs]
    targets, cotangents = torch.randint(0, 31, (23,)), torch.randn(2, 23).double()
    every = (*given, None)[:3]
    wanted = plain(*every, targets, temperature)
    gradients = torch.autograd.grad(wanted, given, tuple(cotangents))
    single = [tensor.float().detach().requires_grad_() for tensor in given]
    found = chunked_scores(*(*single, None)[:3], targets, tokens, temperature)
    ours = torch.autograd.grad(found, single, tuple(cotangents.float()))
    for mine, theirs in zip((*found, *ours), (*wanted, *gradients), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-5)


class Largest(TorchDispatchMode):
    """The most elements that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, torch.Tensor):
                self.elements = max(self.elements, part.numel())
        return result


@pytest.mark.parametrize("entropy", [False, True])
def test_no_more_logits_than_asked_for(entropy):
    hidden, weight = torch.randn(400, 4, requires_grad=True), torch.randn(1000, 4, requires_grad=True)
    with Largest() as seen:
        chosen, spread = chunked_scores(hidden, weight, None, torch.randint(0, 1000, (400,)), 16)
        (chosen.sum() + (spread.sum() if entropy else 0.0)).backward()
    assert seen.elements == 16 * 1000


def test_bfloat16_gradients_are_summed_in_float32():
    """Many chunks of one sign: a bfloat16 sum would stop growing."""
    torch.manual_seed(0)
    hidden = torch.ones(4096, 4, dtype=torch.bfloat16)
    weight = torch.randn(8, 4).to(torch.bfloat16).requires_grad_()
    targets = torch.zeros(4096, dtype=torch.long)
    chunked_scores(hidden, weight, None, targets, 1)[0].sum().backward()
    single = weight.detach().float().requires_grad_()
    plain(hidden.float(), single, None, targets, 1.0)[0].sum().backward()
    torch.testing.assert_close(weight.grad.float(), single.grad, rtol=0.02, atol=1.0)
