"""A running vLLM server: tokens in and out over HTTP, weights by vLLM's own weight-transfer calls.

The server is one that `utils/serve_vllm.py` started: with vLLM's development endpoints open and `worker` inside, so
it belongs on a machine or a network that is trusted. Weights go through a file in a folder that both sides see.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

from safetensors.torch import save_file

from azrl.engine.vllm.engine import Draw
from azrl.engine.vllm.version import SUPPORTED
from azrl.errors import UserError

STARTED_BY = "python utils/serve_vllm.py --config FILE"


class Refused(UserError):
    """The server answered with an error; the message holds what it said."""


class ServerHost:
    """Speaks to the server at `address`. UserError when nothing answers there, when what answers is no vLLM of the
    supported line, or was not started for this."""

    def __init__(self, address: str, *, exchange: str, connections: int, timeout_s: float) -> None:
        self._address, self._timeout_s = address.rstrip("/"), timeout_s
        self._exchange = Path(exchange).absolute()
        if not self._exchange.is_dir():
            raise UserError(
                f"engine.vllm.exchange: no such folder: {exchange}; want one that the server sees too"
            )
        found = str(self._get("/version").get("version", "no vLLM"))
        if not found.startswith(f"{SUPPORTED}."):
            raise UserError(f"engine.vllm.server: want vLLM {SUPPORTED} at {address}, found {found}")
        try:
            self._post("/init_weight_transfer_engine", {"init_info": {}})
        except Refused as error:
            raise UserError(f"{error}; the server takes no weights: start it with {STARTED_BY}") from error
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="vllm")
        self._loads = 0

    def draw(self, draws: Sequence[Draw]) -> Iterator[tuple[int, list[int], list[float]]]:
        """(index, tokens, log-probabilities) as they finish."""
        for at, answer in self._ask([(draw.prompt, draw.sampling) for draw in draws]):
            [written] = answer["choices"]
            yield at, written["token_ids"], [step["logprob"] for step in written["logprobs"]["content"]]

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probabilities of each completion's tokens, read off a prefill of prompt and completion."""
        wanted = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0, "detokenize": False}
        scores: dict[int, list[float]] = {}
        for at, answer in self._ask([((*prompt, *tokens), wanted) for prompt, tokens in sequences]):
            prompt, tokens = sequences[at]
            steps = answer["prompt_logprobs"][len(prompt) :]
            scores[at] = [step[str(token)]["logprob"] for token, step in zip(tokens, steps, strict=True)]
        return [scores[at] for at in range(len(sequences))]

    def load(self, weights: Mapping[str, Any]) -> None:
        """Send the weights as a new version, and have every cached prompt forgotten."""
        self._loads += 1
        with TemporaryDirectory(prefix="azrl-", dir=self._exchange) as folder:
            file = Path(folder) / "weights.safetensors"
            save_file({name: tensor.cpu().contiguous() for name, tensor in weights.items()}, file)
            self._post("/start_weight_update", {})
            try:
                self._post("/update_weights", {"update_info": {"path": str(file)}})
            except Refused as error:
                raise ValueError(str(error)) from error
        self._post("/finish_weight_update", {"weight_version": str(self._loads)})
        if not self._post("/reset_prefix_cache", {})["success"]:
            raise Refused(
                f"{self._address} is busy with others' requests: its cache holds prompts of older weights"
            )

    def dump(self, folder: Path) -> None:
        """Have every worker write its parameters into `folder`, which it must see."""
        file = folder.absolute() / "vllm.safetensors"
        self._post("/collective_rpc", {"method": "azrl_dump", "args": [str(file)]})

    def sleep(self) -> None:
        """It has memory of its own."""

    def close(self) -> None:
        """The server goes on. Idempotent."""
        self._pool.shutdown(cancel_futures=True)

    def _ask(
        self, wanted: Sequence[tuple[Sequence[int], Mapping[str, Any]]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """(index, answer) of each, as they finish. Whoever stops listening stops the rest."""
        waiting = {
            self._pool.submit(
                self._post,
                "/inference/v1/generate",
                {"token_ids": list(tokens), "sampling_params": dict(sampling)},
            ): at
            for at, (tokens, sampling) in enumerate(wanted)
        }
        try:
            for answered in as_completed(list(waiting)):
                yield waiting.pop(answered), answered.result()
        finally:
            for request in waiting:
                request.cancel()

    def _get(self, path: str) -> dict[str, Any]:
        return self._call(HttpRequest(self._address + path), path)

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        return self._call(HttpRequest(self._address + path, json.dumps(body).encode(), headers), path)

    def _call(self, request: HttpRequest, path: str) -> dict[str, Any]:
        try:
            with urlopen(request, timeout=self._timeout_s) as answer:
                found = json.loads(answer.read())
        except HTTPError as error:
            said = " ".join(error.read().decode("utf-8", "replace").split())[:300]
            raise Refused(
                f"engine.vllm.server: {self._address}{path} answered {error.code}: {said}"
            ) from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"engine.vllm.server: nothing answers at {self._address} ({reason}); start it with {STARTED_BY}"
            ) from error
        except ValueError as error:
            raise UserError(
                f"engine.vllm.server: {self._address}{path} answers no JSON: no vLLM server"
            ) from error
        if not isinstance(found, dict):
            raise UserError(f"engine.vllm.server: {self._address}{path} answers strangely: no vLLM server")
        return found
