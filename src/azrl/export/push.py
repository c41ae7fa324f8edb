"""Putting an exported folder on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from azrl.errors import UserError


def token_for(repository: str) -> str:
    """The token with which to write `repository` (`owner/name`). UserError: a name that is none, or no token."""
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UserError(f"export: --push wants owner/name, not {repository!r}")
    from huggingface_hub import get_token

    token = get_token()
    if token is None:
        raise UserError(
            "export: --push needs a Hugging Face token: run `hf auth login`, or set HF_TOKEN; nothing was written"
        )
    return token


def push_folder(folder: Path, repository: str, token: str | None) -> str:
    """Upload `folder`; returns the repository's address. A new repository is private. UserError when the hub
    refuses or cannot be reached: the folder stays."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        url = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    except (HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"export: {folder} is written, but {repository} took nothing: {reason}") from error
    return str(url)
