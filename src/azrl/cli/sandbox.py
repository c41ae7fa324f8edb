"""`python main.py sandbox build|check`: the image of the docker executor, and what runs here."""

from __future__ import annotations

from collections.abc import Sequence

from azrl.cli.arguments import Parser, flag_settings, load
from azrl.config import Config
from azrl.errors import UserError


def run(argv: Sequence[str]) -> int:
    """0, or UserError: for `check` when the docker executor does not work."""
    parser = Parser(
        "sandbox",
        "build|check [--config FILE] [key=value ...]",
        "Build the image of the docker executor from this machine's Python, without a registry; or start the "
        "executor, run an attack or two and an honest program, and say which layers hold.",
        "executor.image, executor.docker_host and executor.runtime say which image, daemon and runtime.",
    )
    parser.add_config()
    options, words = parser.parse_split(argv)
    orders = [word for word in words if "=" not in word]
    if orders not in (["build"], ["check"]):
        parser.error(f"want build or check, got {' '.join(orders) or 'nothing'}")
    settings = [word for word in words if "=" in word]
    config = load(options.config or [], settings, flag_settings(options)).config
    return _build(config) if orders == ["build"] else _check(config)


def _build(config: Config) -> int:
    from azrl.executor.container.build import build

    built = build(config.executor.image, config.executor.docker_host)
    print(
        f"{config.executor.image}: {built.id} ({built.megabytes} MB, Python {built.python}, {built.seconds:.1f} s)"
    )
    print("next: python main.py sandbox check")
    return 0


def _check(config: Config) -> int:
    from azrl.executor import Job, Status, open_executor
    from azrl.preflight import container_options

    container = container_options(config)
    with open_executor("docker", workers=config.executor.workers, container=container) as executor:
        [result] = executor.run([Job("def f(x):\n    return x + 1", ["1"])])
        if (result.status, result.outputs) != (Status.OK, ("2",)):
            raise UserError(f"an honest program ended as {result.status}: {result.error}")
        for name, value in executor.describe().items():
            print(f"{name:<12} {value}")
    return 0
