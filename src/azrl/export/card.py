"""The model card: what the model is and what was measured, from the run's own files; nothing that was not seen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from azrl import __version__
from azrl.config.schema import Config

Row = Mapping[str, float]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def model_card(config: Config, step: int, metrics: Sequence[Row], dtype: str) -> str:
    """README.md of a model exported at `step`, from the run's configuration and `metrics`, one object a step. No
    path of this machine goes in: a base model that is a local folder is called that."""
    done = [row for row in metrics if row["step"] <= step]
    parts = [_front(config), _what(config, step, done, dtype), _measured(config, done), _LIMITS]
    return "\n".join(parts)


def _front(config: Config) -> str:
    base = config.model.name
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    lines += [f"base_model: {base}"] if _on_hub(base) else []
    return "\n".join([*lines, "tags: [azrl, self-play, reinforcement-learning]", "---", ""])


def _what(config: Config, step: int, done: Sequence[Row], dtype: str) -> str:
    training, base = config.training, config.model.name
    name = base if _on_hub(base) else "the tiny model of azrl" if base == "tiny" else "a local model"
    how = f"LoRA adapters of rank {training.lora_rank}, added in" if training.lora_rank else "all weights"
    tokens = sum(row.get("tokens", 0.0) for row in done)
    facts = {
        "base": name,
        "steps of self-play": f"{step} of {config.run.iterations} planned",
        "tokens sampled": f"{tokens:,.0f}" if tokens else "not recorded",
        "trained": how,
        "estimator": training.rl_algorithm,
        "loss": training.loss,
        "learning rate": f"{training.learning_rate:g} ({training.lr_schedule})",
        "curriculum": config.curriculum.name,
        "task kinds": ", ".join(config.tasks.kinds),
        "seed": str(config.run.seed),
        "weights": dtype,
        "made with": f"azrl {__version__}",
    }
    rows = "\n".join(f"| {what} | {fact} |" for what, fact in facts.items())
    shuffled = (
        "\n**A control run: rewards were shuffled, so that nothing could be learned from them.**\n"
        if config.selfplay.shuffle_rewards
        else ""
    )
    return f"""# A model after self-play

One model proposed small Python tasks, a sandbox proved them valid, the model solved them, and both roles were
rewarded (Absolute Zero, arXiv 2505.03335). No tasks came from people or other models.
{shuffled}
| | |
|---|---|
{rows}

Prompts must have the format that it was trained on (`model.template: {config.model.template}`), of at most
{config.model.max_prompt_length} tokens; answers had at most {config.model.max_response_length}.
"""


def _measured(config: Config, done: Sequence[Row]) -> str:
    probes = [row for row in done if "probe/greedy" in row]
    if not probes:
        return "## Measured\n\nNothing: the run never probed the model.\n"
    shown = [probes[0]] if len(probes) == 1 else [probes[0], probes[-1]]
    head = "| | " + " | ".join(f"step {row['step']:.0f}" for row in shown) + " |"
    rule = "|---|" + "---|" * len(shown)
    lines = [
        f"| {measure} | " + " | ".join(_share(row, measure) for row in shown) + " |"
        for measure in ("greedy", "sampled")
        if f"probe/{measure}" in shown[-1]
    ]
    note = (
        f"Share of right answers on azrl's frozen probe, at most {config.probe.items} items a kind, with standard "
        "errors over items; one run."
    )
    return "\n".join(["## Measured", "", note, "", head, rule, *lines, ""])


def _share(row: Row, measure: str) -> str:
    if f"probe/{measure}" not in row:
        return "not measured"
    error = row.get(f"probe/stderr/{measure}", float("nan"))
    return f"{100 * row[f'probe/{measure}']:.1f} ± {100 * error:.1f} %"


def _on_hub(name: str) -> bool:
    return bool(_HUB_ID.fullmatch(name)) and not Path(name).exists()


_LIMITS = """## Limits

- It was trained for short Python tasks alone; what it says of anything else was not measured, and may be worse than
  what its base model says.
- What it writes is program text of unknown effect: run it in a sandbox only.
- No safety training was done. The base model's licence and limits hold.
"""
