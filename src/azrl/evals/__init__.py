"""Measuring a run or a model: the frozen probe, greedy and sampled together."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from azrl.config.schema import Config


def main(config: Config, target: str) -> int:
    """`python main.py eval RUN_OR_MODEL`: measure on the frozen probe and print a table.

    `target` is a run's folder (its newest whole checkpoint is measured), a model folder, a hub id or `tiny`.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from azrl.errors import UserError
    from azrl.evals.probe import measure_probe, table
    from azrl.runs.checkpoint import latest_checkpoint
    from azrl.selfplay.compose import build_policy, job_limits, open_configured_executor

    folder = Path(target) / "checkpoints"
    checkpoint = None
    if folder.is_dir():
        found = latest_checkpoint(folder)
        if found is None:
            raise UserError(f"eval: {target} holds no whole checkpoint to measure")
        checkpoint = found[1]
    else:
        config = config.model_copy(update={"model": config.model.model_copy(update={"name": target})})
    console = Console()
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        progress.add_task("loading the model")
        policy = build_policy(config)
        if checkpoint is not None:
            policy.learner.load(checkpoint / "model")
            policy.engine.sync(policy.learner.weights())
        progress.add_task(f"measuring {config.probe.items} items a kind, {config.probe.samples} samples each")
        with (
            closing(policy.engine),
            open_configured_executor(config, serves_real_model=policy.serves_real_model) as executor,
        ):
            result = measure_probe(
                engine=policy.engine,
                executor=executor,
                template=policy.template,
                limits=job_limits(config),
                items=config.probe.items,
                samples=config.probe.samples,
                max_tokens=config.model.max_response_length,
                seed=config.run.seed,
            )
    console.print(table(str(checkpoint or target), result))
    return 0
