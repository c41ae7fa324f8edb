"""A run's model as a plain Hugging Face folder: whole weights, tokenizer, and a card that says what was seen."""

from __future__ import annotations

import shutil
from pathlib import Path

from azrl.config.load import load_config
from azrl.errors import UserError
from azrl.export.card import model_card
from azrl.export.push import push_folder, token_for
from azrl.runs import read_metrics
from azrl.runs.checkpoint import latest_checkpoint
from azrl.runs.folder import RunPaths


def export(run: str, out: str, *, dtype: str | None, push: str | None) -> str:
    """Write the newest whole checkpoint of the run in folder `run` into a new folder `out`; returns where it is.

    Adapters are added into the weights. `dtype`: `float32` or `bfloat16`, None for the base model's own. `push`: a
    repository on the hub, made private if it is new. UserError: no run, no checkpoint, `out` is there already, a
    checkpoint of another model, no token."""
    paths, target = RunPaths(run), Path(out)
    if not paths.config.is_file():
        raise UserError(f"export: {run} is no run's folder (it holds no {paths.config.name})")
    found = latest_checkpoint(paths.checkpoints)
    if found is None:
        raise UserError(f"export: {run} holds no whole checkpoint")
    if target.exists():
        raise UserError(f"export: --out {out} is there already; name a new folder")
    token = None if push is None else token_for(push)
    config = load_config([paths.config]).config
    step, checkpoint = found

    import torch
    from transformers import AutoConfig

    from azrl.models.load import load_model
    from azrl.rl.checkpoint import load_weights

    model, tokenizer = load_model(config.model.name)
    try:
        load_weights(checkpoint / "model", model)
    except ValueError as error:
        raise UserError(
            f"export: {checkpoint} does not fit model.name={config.model.name}: {error}"
        ) from error
    published = AutoConfig.from_pretrained(str(model.config.name_or_path)).dtype
    kept = getattr(torch, dtype) if dtype else published or torch.float32
    aside = target.with_name(f".tmp-{target.name}")
    if aside.exists():  # what a killed export left
        shutil.rmtree(aside)
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.nn.Module.to(model, kept)
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    card = model_card(config, step, read_metrics(paths.metrics), str(kept).removeprefix("torch."))
    (aside / "README.md").write_text(card)
    aside.rename(target)
    return str(target) if push is None else push_folder(target, push, token)
