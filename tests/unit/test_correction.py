"""Importance weights between sampler and trainer: numpy, verl's numbers, and what must never happen."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from azrl.rl.correction import importance_weights

VERL = json.loads(Path(__file__).with_name("verl_numbers.json").read_text())
MODES = [f"{level}_{what}" for level in ("token", "sequence") for what in ("truncate", "mask")]


def weigh(trainer, sampler, lengths, **settings):
    weights, beyond = importance_weights(
        torch.tensor(trainer, dtype=torch.float64),
        torch.tensor(sampler, dtype=torch.float64),
        lengths,
        **settings,
    )
    return weights.tolist(), beyond.tolist()


def in_numpy(trainer, sampler, lengths, mode, cap, floor):
    """The table of the module's docstring, sequence by sequence, in plain probabilities."""
    found = []
    start = 0
    for length in lengths:
        part = slice(start, start + length)
        ratio = np.exp(np.array(trainer[part])) / np.exp(np.array(sampler[part]))
        if mode.startswith("sequence"):
            ratio = np.full(length, np.prod(ratio))
        if mode.endswith("truncate"):
            found += np.minimum(ratio, cap).tolist()
        else:
            found += np.where((ratio <= cap) & (ratio >= floor), ratio, 0.0).tolist()
        start += length
    return found


def test_by_hand():
    """Ratios 1, 2, 1/2 | 3, 1/4: products 1 and 3/4."""
    trainer = np.log([0.5, 0.4, 0.1, 0.3, 0.1]).tolist()
    sampler = np.log([0.5, 0.2, 0.2, 0.1, 0.4]).tolist()
    lengths = (3, 2)
    weights, beyond = weigh(trainer, sampler, lengths, mode="token_truncate", cap=1.8)
    assert weights == pytest.approx([1, 1.8, 0.5, 1.8, 0.25])
    assert beyond == [False, True, False, True, False]
    weights, beyond = weigh(trainer, sampler, lengths, mode="token_mask", cap=1.8, floor=0.3)
    assert weights == pytest.approx([1, 0, 0.5, 0, 0])
    assert beyond == [False, True, False, True, True]
    weights, _ = weigh(trainer, sampler, lengths, mode="sequence_truncate", cap=0.9)
    assert weights == pytest.approx([0.9, 0.9, 0.9, 0.75, 0.75])
    weights, beyond = weigh(trainer, sampler, lengths, mode="sequence_mask", cap=0.9)
    assert weights == pytest.approx([0, 0, 0, 0.75, 0.75])
    assert beyond == [True, True, True, False, False]


@pytest.mark.parametrize(
    "case", VERL["importance"], ids=lambda case: f"{case['level']}-{case['cap']}-{case['floor']}"
)
def test_the_weights_are_verls(case):
    trainer, sampler = ([x for row in VERL[name] for x in row] for name in ("old", "sampler"))
    what = "truncate" if case["floor"] is None else "mask"
    weights, _ = weigh(
        trainer,
        sampler,
        VERL["lengths"],
        mode=f"{case['level']}_{what}",
        cap=case["cap"],
        floor=case["floor"] or 0.0,
    )
    assert weights == pytest.approx([x for row in case["weights"] for x in row], abs=1e-12)


@given(
    st.lists(st.lists(st.tuples(*[st.floats(-6, 0)] * 2), min_size=1, max_size=5), min_size=1, max_size=5),
    st.sampled_from(MODES),
    st.floats(1.0, 4.0),
    st.floats(0.0, 1.0),
)
def test_the_weights_are_the_formulas(sequences, mode, cap, floor):
    trainer, sampler = ([pair[k] for row in sequences for pair in row] for k in (0, 1))
    lengths = [len(row) for row in sequences]
    weights, _ = weigh(trainer, sampler, lengths, mode=mode, cap=cap, floor=floor)
    expected = in_numpy(trainer, sampler, lengths, mode, cap, floor)
    near_a_bound = np.isclose(expected, cap) | np.isclose(expected, floor)
    for found, wanted, skip in zip(weights, expected, near_a_bound, strict=True):
        assert 0 <= found <= cap
        assert skip or wanted == 0 or found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_equal_probabilities_weigh_one(mode):
    assert weigh([-1.0, -2.0], [-1.0, -2.0], [2], mode=mode, cap=1.0, floor=1.0) == (
        [1.0, 1.0],
        [False, False],
    )


@pytest.mark.parametrize("mode", MODES)
def test_absurd_differences_stay_finite(mode):
    weights, _ = weigh([0.0, -900.0], [-900.0, 0.0], [1, 1], mode=mode, cap=2.0)
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_sampler_must_be_finite(bad):
    with pytest.raises(ValueError, match="non-finite"):
        weigh([-1.0], [bad], [1], mode="token_truncate", cap=2.0)


@pytest.mark.parametrize("mode", ["token", "row_mask", "token_cut"])
def test_an_unknown_mode_is_refused(mode):
    with pytest.raises(ValueError, match="unknown importance mode"):
        weigh([-1.0], [-1.0], [1], mode=mode, cap=2.0)
