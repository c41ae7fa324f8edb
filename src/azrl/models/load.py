"""Load the model that the config names: the shipped tiny one, a local folder, or a hub id."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

from azrl.errors import UserError
from azrl.models.hub import hub_trouble
from azrl.models.tiny import SHIPPED

TINY = "tiny"


def template_name(tokenizer: PreTrainedTokenizerBase) -> str:
    """`compact` for a tokenizer that knows the compact template's markers, else `think`."""
    return "compact" if "propose " in tokenizer.get_vocab() else "think"


def load_model(
    name: str, *, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The causal language model and its tokenizer, in `dtype`, on the CPU.

    UserError: a folder without weights, config or tokenizer; an id that the hub does not serve from here; a
    tokenizer without an end token.
    """
    where, local = located(name)
    if local:
        _check_folder(name, Path(where))
    disable_progress_bar()
    try:
        tokenizer = _tokenizer(where, local)
        model = AutoModelForCausalLM.from_pretrained(where, dtype=dtype, local_files_only=local)
    except Exception as error:  # the files are the user's, and damaged ones raise whatever the parsers raise
        reason = None if local else hub_trouble(error, name)
        reason = reason or " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"model.name: {name!r} cannot be loaded: {reason}") from error
    if tokenizer.eos_token_id is None:
        raise UserError(f"model.name: the tokenizer of {name!r} has no end token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id
    return model, tokenizer


def _tokenizer(where: str, local: bool) -> PreTrainedTokenizerBase:
    """A tokenizer that a folder holds whole is taken as it is: AutoTokenizer goes by the model's architecture and would
    give it Qwen2's normalizer and splitting."""
    config = Path(where) / "tokenizer_config.json"
    if local and config.is_file():
        saved_as = json.loads(config.read_text(encoding="utf-8")).get("tokenizer_class")
        if saved_as in ("TokenizersBackend", "PreTrainedTokenizerFast"):
            return PreTrainedTokenizerFast.from_pretrained(where, local_files_only=True)
    return AutoTokenizer.from_pretrained(where, local_files_only=local)


def located(name: str) -> tuple[str, bool]:
    """What `model.name` means to transformers and to vLLM, and whether that is a folder here: else it is a hub id."""
    source = SHIPPED if name == TINY else Path(name).expanduser()
    local = name == TINY or source.exists() or name.startswith((".", "/", "~"))
    return (str(source) if local else name), local


def load_tiny() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The shipped tiny model and its tokenizer."""
    return load_model(TINY)


def _check_folder(name: str, folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(
            f"model.name: no such folder: {name}; want `tiny`, a folder, or a hub id such as Qwen/Qwen2.5-0.5B"
        )
    if not (folder / "config.json").is_file():
        raise UserError(f"model.name: {name} holds no config.json, so it is no transformers model folder")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"model.name: {name} holds no *.safetensors weights")
    if not any((folder / f).is_file() for f in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise UserError(
            f"model.name: {name} holds no tokenizer (tokenizer.json); save it beside the weights with "
            "tokenizer.save_pretrained(folder)"
        )
