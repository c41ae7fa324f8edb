"""Which arms (task kind x difficulty, datasets, buckets) to propose and practise, and how much of each."""

from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.registry import ALGORITHMS, build_curriculum
from azrl.curriculum.sampler import CurriculumSampler

__all__ = ["ALGORITHMS", "Curriculum", "CurriculumSampler", "Outcome", "build_curriculum"]
