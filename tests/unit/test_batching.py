"""Rows and micro-batches hold every completion token once and change nothing but the work."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from azrl.rl.batching import EVEN_TOKENS, assemble, cheapest_row, microbatches_of, minibatches_of, rows_of

token = st.integers(0, 9)
pairs_of_any_shape = st.lists(
    st.tuples(
        st.lists(st.integers(0, 1), min_size=1, max_size=3).map(tuple), st.lists(token, max_size=6).map(tuple)
    ),
    min_size=1,
    max_size=15,
)


@given(pairs=pairs_of_any_shape, row_tokens=st.integers(1, 30), budget=st.integers(1, 60))
def test_every_token_is_predicted_once_from_its_own_past(pairs, row_tokens, budget):
    """Follow, from each predicting position, what it may see in order of position: that must be the prompt
    and the completion so far."""
    rows = rows_of(pairs, row_tokens)
    seen = {}
    for part in microbatches_of(rows, budget):
        longest = max(row.length for row in part)
        assert len(part) == 1 or len(part) * longest <= budget
        batch = assemble(part, pairs, pad_id=77, device=torch.device("cpu"))
        width = batch.ids.shape[1]
        offset = 0
        for member, length in zip(batch.members, batch.lengths, strict=True):
            prompt, completion = pairs[member]
            assert tuple(batch.targets[offset : offset + length].tolist()) == completion
            for k in range(length):
                at, column = divmod(int(batch.source[offset + k]), width)
                causal = torch.arange(width) <= column
                visible = causal if batch.allowed is None else batch.allowed[at, column]
                order = batch.positions[at][visible].argsort(stable=True)
                assert tuple(batch.ids[at][visible][order].tolist()) == (*prompt, *completion[:k])
            seen[member] = seen.get(member, 0) + 1
            offset += length
    assert seen == {i: 1 for i, (_, completion) in enumerate(pairs) if completion}


@given(
    pairs=pairs_of_any_shape, row_tokens=st.integers(1, 30), budget=st.integers(1, 60), shared=st.booleans()
)
def test_a_packed_row_crosses_no_sequence(pairs, row_tokens, budget, shared):
    """The same through a packing: from each predicting token to its cell, to the cells that it may see, to the
    tokens in them."""
    rows = rows_of(pairs, row_tokens, shared=shared)
    seen = set()
    for part in microbatches_of(rows, budget, packed=True):
        tokens = sum(row.length for row in part)
        assert len(part) == 1 or tokens <= budget
        batch = assemble(part, pairs, pad_id=77, device=torch.device("cpu"), packed=True)
        assert batch.allowed is None
        assert batch.ids.shape == (1, tokens)
        assert 77 not in batch.ids
        visible = visible_of(batch)
        assert set(visible) == set(range(tokens))
        offset = 0
        for member, length in zip(batch.members, batch.lengths, strict=True):
            prompt, completion = pairs[member]
            for k in range(length):
                found = torch.tensor(visible[int(batch.source[offset + k])])
                order = found[batch.positions[0][found].argsort(stable=True)]
                assert tuple(batch.ids[0][order].tolist()) == (*prompt, *completion[:k])
            offset += length
        seen |= set(batch.members)
        lengths = [row.length for row in part]
        if any(len(row.members) > 1 for row in part):
            assert batch.packing.starts is None
        else:
            assert batch.packing.starts.diff().tolist() == lengths
        assert batch.packing.longest == max(lengths)
    assert seen == {i for i, (_, completion) in enumerate(pairs) if completion}


def visible_of(batch):
    """Each token of a packed row to the tokens that it may look at."""
    visible, before = {}, 0
    for grid in batch.packing.grids:
        causal = torch.ones(grid.width, grid.width, dtype=torch.bool).tril()
        allowed = causal.expand(grid.rows, -1, -1) if grid.allowed is None else grid.allowed
        held = grid.tokens.view(grid.rows, grid.width)
        for number, cell in enumerate(grid.cells.tolist()):
            row, column = divmod(cell, grid.width)
            assert held[row, column] == before + number
            visible[before + number] = held[row][allowed[row, column]].tolist()
        before += len(grid.cells)
    return visible


def test_without_shared_rows_each_completion_has_its_own():
    pairs = [((1, 2), (3,) * 4)] * 3 + [((1,), ())]
    assert [row.members for row in rows_of(pairs, shared=False)] == [(0,), (1,), (2,)]
    assert [row.length for row in rows_of(pairs, shared=False)] == [6, 6, 6]


def test_completions_of_one_prompt_are_spread_evenly():
    pairs = [((1, 2), (3,) * 10)] * 6
    assert [row.members for row in rows_of(pairs, 42)] == [(0, 1, 2), (3, 4, 5)]
    assert [len(row.members) for row in rows_of(pairs, 1)] == [1] * 6
    assert [row.length for row in rows_of(pairs, 1000)] == [62]


@pytest.mark.parametrize("prompt", [10, 50, 400])
def test_the_default_row_costs_least_per_completion_token(prompt):
    def cost(row):
        return row * (1 + row / EVEN_TOKENS) / (row - prompt)

    assert cheapest_row(prompt) == min(range(prompt + 1, 5000), key=cost)
    many = [((1,) * prompt, (2,))] * 3000
    assert max(row.length for row in rows_of(many)) <= cheapest_row(prompt)


def test_padding_is_bounded():
    rng = np.random.default_rng(0)
    pairs = [((i,), (1,) * int(n)) for i, n in enumerate(rng.integers(1, 100, 300))]
    parts = microbatches_of(rows_of(pairs), 4096)
    padded = sum(len(part) * part[0].length for part in parts)
    assert padded < 1.25 * sum(row.length for part in parts for row in part)


def test_minibatches_depend_on_the_seed_alone_and_are_balanced():
    rows = rows_of([((i // 4,), (1, 2, 3)) for i in range(400)])
    cut = [minibatches_of(rows, 4, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert cut[0] == cut[1] != cut[2]
    assert [sum(len(row.members) for row in part) for part in cut[0]] == [100] * 4
    assert len(minibatches_of(rows[:2], 5, np.random.default_rng(0))) == 2
