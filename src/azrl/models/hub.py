"""Why a model cannot be fetched from the Hugging Face hub, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)


def hub_trouble(error: BaseException, name: str) -> str | None:
    """What `error`, or what lies behind it, says of the hub model `name`; None when it is about something else."""
    causes = list(_chain(error))
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        where = f"https://huggingface.co/{name}"
        return f"it is gated: accept its terms at {where}, then run `hf auth login` or set HF_TOKEN"
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return (
            "the hub has no such model, or it is private: check the name; for a private one run `hf auth login` or "
            "set HF_TOKEN"
        )
    unreachable = (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, ConnectionError)
    if any(isinstance(cause, unreachable) for cause in causes):
        return (
            "its files are not here and the hub does not give them: get them where there is a connection (`hf download "
            f"{name} --local-dir FOLDER`) and set model.name=FOLDER"
        )
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
