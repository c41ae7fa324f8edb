"""ZRC: a curriculum over clusters of tasks that needs no labels of difficulty and, if need be, no verifier."""

from azrl.curriculum.zrc.arms import ZRC
from azrl.curriculum.zrc.features import mean_token_embedding
from azrl.curriculum.zrc.settings import PRESETS, Settings
from azrl.curriculum.zrc.updater import Feedback, RLUpdater
from azrl.curriculum.zrc.zero_resource import Recorded, ZeroResourceCurriculum

__all__ = [
    "PRESETS",
    "ZRC",
    "Feedback",
    "RLUpdater",
    "Recorded",
    "Settings",
    "ZeroResourceCurriculum",
    "mean_token_embedding",
]
