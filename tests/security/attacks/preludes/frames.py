import os  # noqa: F401  programs use it


def frame(text, tag=b"K", size=None):
    """An answer as the runner writes it."""
    return tag + (len(text) if size is None else size).to_bytes(4, "little") + text
