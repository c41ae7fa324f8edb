"""Starts the vLLM server that a configuration's `engine.vllm.server` names, and stays until it is stopped.

    python utils/serve_vllm.py --config FILE [key=value ...]

The server answers nothing useful before a run has given it weights: it starts with random ones. vLLM's development
endpoints are open on it, so the address should be one that only trusted machines reach.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from azrl.config import Config, load_config
from azrl.engine.vllm.version import trouble
from azrl.errors import UserError

SOURCE = Path(__file__).resolve().parents[1] / "src"


def command(config: Config) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment; UserError for what stands in the way, such as a port in use."""
    address = config.engine.vllm.server
    if address is None:
        raise UserError(
            "engine.vllm.server: want an address, such as engine.vllm.server=http://127.0.0.1:8000"
        )
    if lacking := trouble():
        raise UserError(f"a vLLM server needs {lacking}")
    where = urlsplit(address)
    host, port = str(where.hostname), int(str(where.port))
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise UserError(
            f"engine.vllm.server: {address}: {os.strerror(error.errno or 0)}; take another port"
        ) from error

    from vllm.platforms import current_platform

    from azrl.engine.vllm.local import ENVIRONMENT, options
    from azrl.models.load import located
    from azrl.selfplay.compose import placed

    settings = options(
        model=located(config.model.name)[0],
        dtype=str(placed(config)[1]).removeprefix("torch."),
        batch_rows=config.engine.batch_rows,
        longest=config.model.max_prompt_length + config.model.max_response_length,
        cpu=current_platform.is_cpu(),
        cache_gb=config.engine.vllm.cache_gb,
        memory_share=config.engine.vllm.memory_share,
    )
    words = [sys.executable, "-m", "vllm.entrypoints.launchers.api_server.entry"]
    words += [word for name, value in settings.items() for word in flag(name, value)]
    words += ["--host", host, "--port", str(port), "--tokens-only", "--disable-uvicorn-access-log"]
    words += ["--worker-extension-cls", "azrl.engine.vllm.worker.Extension"]
    words += ["--weight-transfer-config", json.dumps({"backend": "azrl_file"})]
    path = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return words, {**ENVIRONMENT, **os.environ, "PYTHONPATH": path, "VLLM_SERVER_DEV_MODE": "1"}


def flag(name: str, value: Any) -> list[str]:
    """One engine argument as words of the command line."""
    word = "--" + name.replace("_", "-")
    return [word] if value is True else [word, str(value)]


def main(argv: Sequence[str]) -> int:
    """Become the server; 2 when it cannot start."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", metavar="FILE", action="append", default=[], help="a YAML file")
    parser.add_argument("words", metavar="key=value", nargs="*", help="settings over the file's")
    given = parser.parse_args(argv)
    try:
        line, environment = command(load_config(given.config, given.words, os.environ).config)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    os.execvpe(line[0], line, environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
