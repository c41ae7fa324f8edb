"""What a run leaves on the disk and shows on the screen."""

from azrl.runs.checkpoint import CheckpointError, CheckpointStore, read_meta
from azrl.runs.clock import PhaseClock
from azrl.runs.display import Display
from azrl.runs.folder import RunFolder
from azrl.runs.metrics import MetricsLog, read_metrics
from azrl.runs.rollouts import RolloutLog
from azrl.runs.sinks import Sinks, open_sinks
from azrl.runs.stop import StopFlag
from azrl.runs.textlog import open_log

__all__ = [
    "CheckpointError",
    "CheckpointStore",
    "Display",
    "MetricsLog",
    "PhaseClock",
    "RolloutLog",
    "RunFolder",
    "Sinks",
    "StopFlag",
    "open_log",
    "open_sinks",
    "read_meta",
    "read_metrics",
]
