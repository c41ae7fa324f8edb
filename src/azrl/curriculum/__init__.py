"""Which arms (task kind x difficulty, datasets, buckets) to propose and practise, and how much of each."""

from azrl.curriculum.bag import ShuffleBag
from azrl.curriculum.base import Curriculum, Outcome
from azrl.curriculum.belief import Belief
from azrl.curriculum.curriculum_learning import CurriculumController, LearnabilityEstimator
from azrl.curriculum.registry import ALGORITHMS, build_curriculum, check_options
from azrl.curriculum.sampler import CurriculumSampler, Ticket

__all__ = [
    "ALGORITHMS",
    "Belief",
    "Curriculum",
    "CurriculumController",
    "CurriculumSampler",
    "LearnabilityEstimator",
    "Outcome",
    "ShuffleBag",
    "Ticket",
    "build_curriculum",
    "check_options",
]
