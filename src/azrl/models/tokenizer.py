"""The tiny model's tokenizer: bytes, plus one token for each piece of syntax that the tiny world uses often.

Any text round-trips, because whatever is not a known piece falls back to bytes. Letters and digits inside values
stay single tokens, so that a model of a million parameters can copy, reverse and count them.
"""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|end|>"

PIECES: tuple[str, ...] = (
    "propose ", "deduce\n", "abduce\n", "induce\n", "abduction ", "deduction ", "induction ",
    "ref\n", "new\n", "\nin ", "in ", "\nout ", "note ",
    "def f(x):\n    ", "\n    ", "\n        ", "return ", "if ", "else:", "for v in ", "range(", ":\n        ",
    " = ", " + ", " - ", " * ", " % ", " == ", " > ", " < ", ", ", " in ",
    "sorted(", "len(", "sum(", "max(", "min(", "str(", ".upper()", ".count(",
    "[::-1]", "[1:]", "[:-1]", "[:2]", "[:3]", "[0]", "[-1]", " for v in ", " if v", "[v",
)  # fmt: skip


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer: 3 special ids, 256 bytes, then `PIECES` (matched leftmost and longest); a text starts with BOS."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([PAD, BOS, EOS, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (PAD, BOS, EOS)])
    core.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in PIECES])
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, core.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
