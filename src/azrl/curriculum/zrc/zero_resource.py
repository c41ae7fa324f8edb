"""The zero-resource curriculum: which cluster of tasks to practise next, told by outcomes alone.

After "Zero-Resource Curriculum Reinforcement Learning for LLMs" (ZRC), with the parts that cannot work as published
replaced; docs/zrc.md says which and why.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azrl.curriculum.zrc import difficulty
from azrl.curriculum.zrc.checks import Rollouts, grouped, guessed_rates, known_rows, new_ids, some
from azrl.curriculum.zrc.explain import terms
from azrl.curriculum.zrc.features import Vector, Vectors
from azrl.curriculum.zrc.memory import Memory
from azrl.curriculum.zrc.seeded import generator
from azrl.curriculum.zrc.settings import Settings
from azrl.curriculum.zrc.stabilise import Stabiliser, with_floor
from azrl.curriculum.zrc.worth import beliefs, distribution

Floats = NDArray[np.float64]

VERSION = 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """What `record_outcomes` did: the step it closed, the clusters whose change it announced, and the
    re-clustering it led to: None, "soft", "hard", or "first" for the one that replaces guesses."""

    step: int
    changes: tuple[int, ...] = ()
    reclustered: str | None = None


class ZeroResourceCurriculum:
    """Tasks in clusters, and a bandit over the clusters. A step is one `record_outcomes`.

    Draws are a function of the seed, the step and the number of draws in it, all in the state; so a resumed
    curriculum draws the same. Wrong arguments are ValueErrors and change nothing. `embed` turns texts into
    vectors where `register_tasks` is given texts; see `features.mean_token_embedding` for the policy's own.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        seed: int = 0,
        embed: Callable[[str], Vector] | None = None,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.settings = settings or Settings()
        self.seed = seed
        self._embed = embed
        self._stabiliser = Stabiliser(
            self.settings.stabilisation_steps, self.settings.kl_base, self.settings.kl_scale
        )
        self._memory = Memory(self.settings)
        self._known: Floats | None = None  # the distribution of this step before the floor, once asked for

    @property
    def step(self) -> int:
        """Outcomes recorded so far."""
        return self._memory.step

    @property
    def tasks(self) -> tuple[str, ...]:
        """Ids of the tasks, in order of registration."""
        return tuple(self._memory.table.ids)

    @property
    def clusters(self) -> dict[int, list[str]]:
        """Cluster id to the ids of its tasks; no cluster is empty."""
        found: dict[int, list[str]] = {cluster: [] for cluster in self._memory.clusters.ids}
        for task, cluster in zip(self._memory.table.ids, self._memory.clusters.labels.tolist(), strict=True):
            found[cluster].append(task)
        return found

    # -- tasks come and go

    def register_tasks(
        self,
        ids: Sequence[str],
        embeddings: Vectors | None = None,
        initial_difficulty: Sequence[float | None] | None = None,
        *,
        texts: Sequence[str] | None = None,
    ) -> None:
        """Add tasks by embeddings, by texts for `embed`, or by neither: then difficulty alone clusters them.

        Either all tasks have embeddings or none. The first batch sets the space (principal components), so it
        should be typical. `initial_difficulty` is in [0, 1], None where unknown.
        """
        ids = new_ids(ids, self._memory.table.rows)
        rates = guessed_rates(ids, initial_difficulty)
        if texts is not None:
            if self._embed is None or embeddings is not None:
                raise ValueError("texts need a curriculum made with embed=, and no embeddings beside them")
            embeddings = [self._embed(text) for text in texts]
        self._memory.add(ids, embeddings, rates)
        self._known = None

    def remove_tasks(self, ids: Iterable[str]) -> None:
        """Forget tasks and their counts; clusters left empty vanish. All of them must be known."""
        rows = known_rows(ids, self._memory.table.rows)
        self._memory.remove(rows)
        self._known = None

    # -- what to practise

    def select_cluster(self) -> int:
        """The id of the cluster to draw tasks from, drawn by `cluster_probabilities`."""
        shares = self.cluster_probabilities()
        edges = np.cumsum(list(shares.values()))
        pick = np.searchsorted(edges, self._rng("cluster").random() * edges[-1], side="right")
        return list(shares)[min(int(pick), len(shares) - 1)]

    def sample_tasks_from_cluster(self, cluster_id: int, num_tasks: int) -> list[str]:
        """Ids of tasks of this cluster, by their probabilities and without repeats; a cluster of fewer tasks
        is gone through again. ValueError for a cluster that is not (or no longer) there."""
        if num_tasks < 0:
            raise ValueError(f"cannot sample {num_tasks} tasks")
        if cluster_id not in self._memory.clusters.detectors:
            raise ValueError(
                f"there is no cluster {cluster_id!r} at step {self.step}; there is"
                f" {some(map(str, self._memory.clusters.ids)) or 'none: register tasks first'}"
            )
        members = np.flatnonzero(self._memory.clusters.labels == cluster_id)
        p = self.task_probabilities()[members]
        rng = self._rng("tasks")
        picked: list[int] = []
        while len(picked) < num_tasks:
            # The order of p_i / exponential is that of draws without replacement (Efraimidis & Spirakis 2006).
            order = np.argsort(rng.standard_exponential(len(p)) / np.maximum(p, 1e-300), kind="stable")
            picked += members[order[: num_tasks - len(picked)]].tolist()
        return [self._memory.table.ids[row] for row in picked]

    def task_probabilities(self, step: int | None = None) -> Floats:
        """Each task's share of the draws, float64[N] in the order of `tasks`: the bandit's, faded over from
        the old clustering's, and above the floor. A function of the state and `step` (now, if None)."""
        if not len(self._memory.table):
            raise ValueError("there are no tasks to choose from: register_tasks first")
        return with_floor(self._mixed(step), self.settings.floor)

    def cluster_probabilities(self) -> dict[int, float]:
        """Each cluster's share of the draws, by id."""
        shares = np.bincount(self._memory.clusters.positions(), weights=self.task_probabilities())
        return dict(zip(self._memory.clusters.ids, shares.tolist(), strict=True))

    # -- what came of it

    def record_outcomes(
        self,
        task_ids: Sequence[str],
        successes: Sequence[Rollouts],
        verification_failures: Sequence[Rollouts] | None = None,
        *,
        separate: bool = False,
    ) -> Recorded:
        """Close a step with what was practised in it. For each entry of `task_ids` successes of one rollout, a
        number in [0, 1], or of several, a sequence; verification failures likewise, maybe none. Entries of one
        task are one group of rollouts, unless `separate` says that each is another item for which the task stands.
        All is taken in, or, when something is wrong, nothing."""
        rows = known_rows(task_ids, self._memory.table.rows)
        groups = grouped("successes", task_ids, rows, successes, separate)
        failures = [np.zeros(0)] * len(groups)
        if verification_failures is not None:
            checked = grouped("verification_failures", task_ids, rows, verification_failures, separate)
            failures = [failed for _, failed in checked]
        empty = [self._memory.table.ids[row] for row, won in groups if not len(won)]
        if empty:
            raise ValueError(f"no rollouts for {some(empty)}")
        memory = self._memory
        changes = memory.observe(groups)
        due = memory.due()
        if due:
            memory.old = self._mixed()  # what this step was drawn from, before its outcomes move the bandit
        memory.step, memory.draws, self._known = memory.step + 1, 0, None
        for (row, won), failed in zip(groups, failures, strict=True):
            memory.table.record(row, memory.step, won, failed)
        self.advance_stabilization()
        return Recorded(memory.step, changes, memory.recluster() if due else None)

    def record_answers(
        self,
        task_ids: Sequence[str],
        answers: Sequence[Sequence[Hashable]],
        claims: Sequence[Sequence[bool]] | None = None,
    ) -> Recorded:
        """`record_outcomes` without a verifier: an answer counts as solved when it is the majority's. `claims` are
        the model's own verdicts on its answers; one that disagrees with the majority is a verification failure."""
        solved = [difficulty.majority(group) for group in answers]
        if claims is None:
            return self.record_outcomes(task_ids, solved)
        if [len(group) for group in claims] != [len(group) for group in solved]:
            raise ValueError("claims must have one verdict for each answer")
        failures = [
            [float(bool(claim) != bool(right)) for claim, right in zip(group, votes, strict=True)]
            for group, votes in zip(claims, solved, strict=True)
        ]
        return self.record_outcomes(task_ids, solved, failures)

    # -- stabilisation

    def kl_penalty_multiplier(self) -> float:
        """What to multiply the KL penalty by: `kl_scale` right after a re-clustering, falling to 1."""
        return self._stabiliser.multiplier(self._memory.since)

    def current_kl_penalty(self) -> float:
        """The KL penalty of this step: `kl_base` times the multiplier."""
        return self.settings.kl_base * self.kl_penalty_multiplier()

    def advance_stabilization(self) -> None:
        """One step of stabilisation is over. `record_outcomes` does this; call it for policy updates besides."""
        if self._memory.since is not None:
            self._memory.since += 1
            if self._memory.since >= self.settings.stabilisation_steps:
                self._memory.since = None
            self._known = None

    # -- what is believed

    def difficulties(self) -> Floats:
        """The intrinsic difficulty of each task, float64[N] in [0, 1], in the order of `tasks`."""
        return self._memory.difficulties()

    def curriculum_state(self) -> dict[str, Any]:
        """A summary for logs: step, KL multiplier, and of each cluster (by its id as text) its size, share of the
        draws, rate, learnability, progress, correlation and probability of a recent change."""
        belief, _ = beliefs(*self._memory.counts(), self.settings)
        sizes, shares = self._memory.clusters.sizes(), self.cluster_probabilities()
        change = [self._memory.clusters.detectors[cluster].recent() for cluster in shares]
        others = {"size": sizes, "share": np.array(list(shares.values())), "change": np.array(change)}
        clusters = terms([str(cluster) for cluster in shares], belief, others)
        return {"step": self.step, "kl_multiplier": self.kl_penalty_multiplier(), "clusters": clusters}

    def task_terms(self) -> dict[str, dict[str, float]]:
        """The terms behind each task's probability, by task id."""
        _, belief = beliefs(*self._memory.counts(), self.settings)
        others = {
            "cluster": self._memory.clusters.labels.astype(np.float64),
            "difficulty": self.difficulties(),
            "share": self.task_probabilities(),
        }
        return terms(self._memory.table.ids, belief, others)

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on alike; holds only what JSON can."""
        return {"name": "zero_resource", "version": VERSION, "seed": self.seed, **self._memory.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, its seed too. ValueError when it is damaged or of another version."""
        for field, value in {"name": "zero_resource", "version": VERSION}.items():
            if state.get(field) != value:
                raise ValueError(f"state has {field} {state.get(field)!r}, but this curriculum has {value!r}")
        memory = Memory(self.settings)
        try:
            memory.load_state_dict(state)
            seed = int(state["seed"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"damaged state of a zero-resource curriculum: {error!r}") from error
        self._memory, self.seed, self._known = memory, seed, None

    # -- inside

    def _mixed(self, step: int | None = None) -> Floats:
        """The distribution before the floor: the bandit's and, while it fades, the one before."""
        now = step is None or step == self.step
        if now and self._known is not None:
            return self._known
        rng = generator(self.seed, self.step if step is None else step, "posterior")
        new = distribution(*self._memory.counts(), self.settings, rng)
        mixed = self._stabiliser.mix(self._memory.old, new, self._memory.since)
        if now:
            self._known = mixed
        return mixed

    def _rng(self, purpose: str) -> np.random.Generator:
        """Fresh randomness for a draw within this step."""
        self._memory.draws += 1
        return generator(self.seed, self.step, self._memory.draws, purpose)
