"""vLLM in this process, on the device that the learner uses too.

The model starts with random weights and takes all of them from the trainer, so a layer that the hand-over forgets is
noise from the first step on, and the proof of the sync sees it. On a GPU it can sleep while the learner updates.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from azrl.engine.vllm.engine import Draw
from azrl.engine.vllm.version import trouble
from azrl.errors import UserError

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this very process: weights are handed over, not sent
    "VLLM_HOST_IP": "127.0.0.1",  # its one-process group listens nowhere else
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the sandbox's processes need cores too
}
"""Set before vLLM is imported, where the user has not."""


def options(
    *,
    model: str,
    dtype: str,
    batch_rows: int,
    longest: int,
    cpu: bool,
    cache_gb: float,
    memory_share: float,
) -> dict[str, Any]:
    """vLLM's engine arguments, for this process and for a server alike. `longest`: tokens of prompt and response."""
    memory: dict[str, Any] = (
        {"kv_cache_memory_bytes": int(cache_gb * 2**30), "block_size": 32, "enforce_eager": True}
        if cpu
        else {"gpu_memory_utilization": memory_share}
    )
    return {
        "model": model,
        "load_format": "dummy",
        "dtype": dtype,
        "max_model_len": longest + 1,  # scoring draws one token after the text
        "max_num_seqs": batch_rows,
        "enable_prefix_caching": True,
        "logprobs_mode": "raw_logprobs",
        "generation_config": "vllm",
        **memory,
    }


class LocalHost:
    """Starts vLLM; one at a time in a process. UserError when it is absent, of another version or does not start, and
    where the process is one of several that train together."""

    def __init__(
        self,
        *,
        model: str,
        dtype: str,
        batch_rows: int,
        longest: int,
        cache_gb: float,
        memory_share: float,
        sleeps: bool,
    ) -> None:
        if lacking := trouble():
            raise UserError(f"engine.backend=vllm needs {lacking}")
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            raise UserError(
                "engine.backend=vllm: several processes train, and vLLM in one of them would wait for the others; "
                "let it have processes of its own: engine.vllm.server (docs/engines.md)"
            )
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import vllm
        from vllm.platforms import current_platform

        from azrl.engine.vllm import worker

        cpu = current_platform.is_cpu()
        self._vllm, self._worker = vllm, worker
        self._sleeps, self._asleep = sleeps and not cpu, False
        self._ids = count()
        try:
            self._llm: Any = vllm.LLM(
                **options(
                    model=model,
                    dtype=dtype,
                    batch_rows=batch_rows,
                    longest=longest,
                    cpu=cpu,
                    cache_gb=cache_gb,
                    memory_share=memory_share,
                ),
                skip_tokenizer_init=True,
                enable_sleep_mode=self._sleeps,
                distributed_executor_backend="uni",
                disable_log_stats=True,
            )
        except Exception as error:  # whatever vLLM says of a model, a setting or a device that it cannot use
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
            raise UserError(f"engine.backend=vllm: vLLM does not start with {model}: {reason}") from error

    def draw(self, draws: Sequence[Draw]) -> Iterator[tuple[int, list[int], list[float]]]:
        """(index, tokens, log-probabilities) as they finish."""
        for at, output in self._run([(draw.prompt, draw.sampling) for draw in draws]):
            [written] = output.outputs
            tokens = list(written.token_ids)
            yield (
                at,
                tokens,
                [step[token].logprob for token, step in zip(tokens, written.logprobs, strict=True)],
            )

    def score(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Log-probabilities of each completion's tokens, read off a prefill of prompt and completion."""
        wanted = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0, "detokenize": False}
        scores: dict[int, list[float]] = {}
        for at, output in self._run([((*prompt, *tokens), wanted) for prompt, tokens in sequences]):
            prompt, tokens = sequences[at]
            steps = output.prompt_logprobs[len(prompt) :]
            scores[at] = [step[token].logprob for token, step in zip(tokens, steps, strict=True)]
        return [scores[at] for at in range(len(sequences))]

    def load(self, weights: Mapping[str, Any]) -> None:
        """Copy the weights into the live model, and forget every cached prompt. RuntimeError in the middle of a
        generation, whose keys and values are of the old weights."""
        self._wake()
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("new weights in the middle of a generation: finish or close the stream first")
        self._llm.apply_model(partial(self._worker.load, weights=weights.items()))

    def dump(self, folder: Path) -> None:
        """Write the live parameters into `folder`."""
        self._wake()
        self._llm.apply_model(partial(self._worker.dump, file=folder / "vllm.safetensors"))

    def sleep(self) -> None:
        """Weights to main memory, cache dropped; nothing on a CPU, whose memory is the learner's anyway."""
        if self._sleeps and not self._asleep:
            self._llm.sleep(level=1)
            self._asleep = True

    def close(self) -> None:
        """Stop vLLM and free its memory. Idempotent."""
        if self._llm is not None:
            from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None
            gc.collect()
            cleanup_dist_env_and_memory()

    def _wake(self) -> None:
        if self._asleep:
            torch.cuda.empty_cache()  # what the learner's allocator keeps, vLLM needs
            self._llm.wake_up()
            self._asleep = False

    def _run(self, wanted: Sequence[tuple[Sequence[int], Mapping[str, Any]]]) -> Iterator[tuple[int, Any]]:
        """(index, vLLM's output) of each, as they finish. Whoever stops listening stops the rest."""
        self._wake()
        engine, kind = self._llm.llm_engine, self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY
        waiting: dict[str, int] = {}
        try:
            for at, (tokens, sampling) in enumerate(wanted):
                name = str(next(self._ids))
                waiting[name] = at
                parameters = self._vllm.SamplingParams(**sampling, output_kind=kind)
                engine.add_request(name, {"prompt_token_ids": list(tokens)}, parameters)
            while waiting:
                for output in engine.step():
                    yield waiting.pop(output.request_id), output
        finally:
            if waiting:
                engine.abort_request(list(waiting))
