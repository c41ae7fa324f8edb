"""The tiny model's tokenizer: every text comes back, and what the tiny world says often is one token."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from azrl.models.load import load_model, load_tiny
from azrl.models.tiny import SHIPPED
from azrl.models.tokenizer import BOS, EOS, PAD, PIECES, build_tokenizer

TOKENIZER = build_tokenizer()


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(text: str) -> None:
    ids = TOKENIZER.encode(text)
    if not any(special in text for special in (PAD, BOS, EOS)):
        assert TOKENIZER.decode(ids, skip_special_tokens=True) == text
    assert ids[0] == TOKENIZER.bos_token_id


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, "x", "7", "'", "[", "é", "\n", " "])).map("".join))
def test_programs_come_back_too(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text), skip_special_tokens=True) == text


def test_the_vocabulary_is_bytes_pieces_and_three_special_tokens() -> None:
    assert len(TOKENIZER) == 3 + 256 + len(PIECES)
    assert len(set(PIECES)) == len(PIECES)
    assert [TOKENIZER.encode(t)[1:] for t in (PAD, BOS, EOS)] == [[0], [1], [2]]
    assert (TOKENIZER.pad_token_id, TOKENIZER.bos_token_id, TOKENIZER.eos_token_id) == (0, 1, 2)


@pytest.mark.parametrize("piece", PIECES)
def test_a_piece_is_one_token(piece: str) -> None:
    assert TOKENIZER.encode(piece)[1:] == [TOKENIZER.get_vocab()[piece]]


def test_values_are_read_sign_by_sign() -> None:
    tokens = TOKENIZER.convert_ids_to_tokens(TOKENIZER.encode("[12, 'ab']"))
    assert tokens == [BOS, "[", "1", "2", ", ", "'", "a", "b", "'", "]"]


def test_a_program_is_short() -> None:
    text = "def f(x):\n    y = sorted(x)\n    for v in y[:2]:\n        y = y + [v + 3]\n    return y[::-1]"
    assert TOKENIZER.convert_ids_to_tokens(TOKENIZER.encode(text))[:6] == [
        BOS, "def f(x):\n    ", "y", " = ", "sorted(", "x"
    ]  # fmt: skip
    assert len(TOKENIZER.encode(text)) < len(text) / 2.5


def test_the_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    text = "deduce\ndef f(x):\n    return x + 'é'\nin 'ab'\nout "
    for folder in (tmp_path, SHIPPED):
        loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        assert loaded.encode(text) == TOKENIZER.encode(text)
        assert loaded.decode(loaded.encode(text), skip_special_tokens=True) == text
        assert loaded.eos_token_id == TOKENIZER.eos_token_id
        assert loaded.pad_token_id == TOKENIZER.pad_token_id


def test_a_loaded_model_reads_text_as_it_is_and_is_saved_as_it_was(tmp_path: Path) -> None:
    """AutoTokenizer would compose accents and split as Qwen2 does, and a saved copy would keep that."""
    _, shipped = load_tiny()
    shipped.save_pretrained(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((SHIPPED / name).read_bytes())
    _, again = load_model(str(tmp_path))
    for text in ("return 'e\u0301'", "it's 12", "\u212b"):
        assert shipped.encode(text) == again.encode(text) == TOKENIZER.encode(text)
    assert (tmp_path / "tokenizer.json").read_text() == (SHIPPED / "tokenizer.json").read_text()
