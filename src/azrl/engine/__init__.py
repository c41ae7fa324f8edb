"""Where completions come from. Importing this package loads no torch: take the embedded engine from
`azrl.engine.torch_engine`."""

from azrl.engine.base import Completion, Engine, Request
from azrl.engine.proof import SyncMismatch, prove_sync
from azrl.engine.scripted import ScriptedEngine

__all__ = ["Completion", "Engine", "Request", "ScriptedEngine", "SyncMismatch", "prove_sync"]
