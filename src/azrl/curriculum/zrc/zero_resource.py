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
from azrl.curriculum.zrc.bandit import correlations
from azrl.curriculum.zrc.changepoint import effective_size
from azrl.curriculum.zrc.checks import Rollouts, grouped, guessed_rates, known_rows, new_ids, some
from azrl.curriculum.zrc.clusters import Clusters
from azrl.curriculum.zrc.explain import terms
from azrl.curriculum.zrc.features import Projection, checked_embeddings
from azrl.curriculum.zrc.seeded import generator
from azrl.curriculum.zrc.settings import Settings
from azrl.curriculum.zrc.stabilise import Stabiliser, with_floor
from azrl.curriculum.zrc.table import TaskTable, by_cluster
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
        embed: Callable[[str], Sequence[float]] | None = None,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.settings = settings or Settings()
        self.seed = seed
        self._embed = embed
        self._stabiliser = Stabiliser(
            self.settings.stabilisation_steps, self.settings.kl_base, self.settings.kl_scale
        )
        self._clear()

    def _clear(self) -> None:
        self.step = 0
        self._table = TaskTable(self.settings.half_life, self.settings.recent_half_life)
        self._clusters = Clusters(self.settings)
        self._projection = Projection()
        self._meaning: Floats = np.zeros((0, 0))
        self._old: Floats = np.zeros(0)  # what was drawn from before the last re-clustering
        self._since: int | None = None  # steps of stabilisation done
        self._last = 0  # step of the last re-clustering
        self._pending = 0.0  # the largest announced probability that still waits for min_steps
        self._guessed = True  # the clusters rest on no outcome yet
        self._draws = 0  # in this step
        self._known: Floats | None = None  # the distribution of this step before the floor, once asked for

    @property
    def tasks(self) -> tuple[str, ...]:
        """Ids of the tasks, in order of registration."""
        return tuple(self._table.ids)

    @property
    def clusters(self) -> dict[int, list[str]]:
        """Cluster id to the ids of its tasks; no cluster is empty."""
        found: dict[int, list[str]] = {cluster: [] for cluster in self._clusters.ids}
        for task, cluster in zip(self._table.ids, self._clusters.labels.tolist(), strict=True):
            found[cluster].append(task)
        return found

    # -- tasks come and go

    def register_tasks(
        self,
        ids: Sequence[str],
        embeddings: Sequence[Sequence[float]] | NDArray[Any] | None = None,
        initial_difficulty: Sequence[float | None] | None = None,
        *,
        texts: Sequence[str] | None = None,
    ) -> None:
        """Add tasks by embeddings, by texts for `embed`, or by neither: then difficulty alone clusters them.

        Either all tasks have embeddings or none. The first batch sets the space (principal components), so it
        should be typical. `initial_difficulty` is in [0, 1], None where unknown.
        """
        ids = new_ids(ids, self._table.rows)
        rates = guessed_rates(ids, initial_difficulty)
        if texts is not None:
            if self._embed is None or embeddings is not None:
                raise ValueError("texts need a curriculum made with embed=, and no embeddings beside them")
            embeddings = [self._embed(text) for text in texts]
        projection, meaning = self._place(ids, embeddings)
        usual = float(self.difficulties().mean()) if len(self._table) else 0.5
        self._projection = projection
        self._meaning = np.concatenate([self._meaning, meaning]) if len(self._table) else meaning
        self._table.add(ids, self.step, rates, self.settings.guess_strength)
        self._clusters.add(meaning, np.where(np.isfinite(rates), 1.0 - rates, usual))
        self._old = np.concatenate([self._old, np.zeros(len(ids))])
        self._known = None

    def remove_tasks(self, ids: Iterable[str]) -> None:
        """Forget tasks and their counts; clusters left empty vanish. All of them must be known."""
        rows = known_rows(ids, self._table.rows)
        if not rows:
            return
        gone = np.zeros(len(self._table), dtype=bool)
        gone[rows] = True
        self._table.remove(gone)
        self._clusters.remove(gone)
        self._meaning, self._old = self._meaning[~gone], self._old[~gone]
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
        if cluster_id not in self._clusters.detectors:
            raise ValueError(
                f"there is no cluster {cluster_id!r} at step {self.step}; there is"
                f" {some(map(str, self._clusters.ids)) or 'none: register tasks first'}"
            )
        members = np.flatnonzero(self._clusters.labels == cluster_id)
        p = self.task_probabilities()[members]
        rng = self._rng("tasks")
        picked: list[int] = []
        while len(picked) < num_tasks:
            # The order of p_i / exponential is that of draws without replacement (Efraimidis & Spirakis 2006).
            order = np.argsort(rng.standard_exponential(len(p)) / np.maximum(p, 1e-300), kind="stable")
            picked += members[order[: num_tasks - len(picked)]].tolist()
        return [self._table.ids[row] for row in picked]

    def task_probabilities(self, step: int | None = None) -> Floats:
        """Each task's share of the draws, float64[N] in the order of `tasks`: the bandit's, faded over from
        the old clustering's, and above the floor. A function of the state and `step` (now, if None)."""
        if not len(self._table):
            raise ValueError("there are no tasks to choose from: register_tasks first")
        return with_floor(self._mixed(step), self.settings.floor)

    def cluster_probabilities(self) -> dict[int, float]:
        """Each cluster's share of the draws, by id."""
        shares = np.bincount(self._clusters.positions(), weights=self.task_probabilities())
        return dict(zip(self._clusters.ids, shares.tolist(), strict=True))

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
        rows = known_rows(task_ids, self._table.rows)
        groups = grouped("successes", task_ids, rows, successes, separate)
        failures = [np.zeros(0)] * len(groups)
        if verification_failures is not None:
            checked = grouped("verification_failures", task_ids, rows, verification_failures, separate)
            failures = [failed for _, failed in checked]
        empty = [self._table.ids[row] for row, won in groups if not len(won)]
        if empty:
            raise ValueError(f"no rollouts for {some(empty)}")
        changes = self._observe(groups)
        due = self.step + 1 - self._last >= self.settings.min_steps and (self._guessed or self._pending > 0)
        if due and len(self._table):
            self._old = self._mixed()  # what this step was drawn from, before its outcomes move the bandit
        self.step += 1
        for (row, won), failed in zip(groups, failures, strict=True):
            self._table.record(row, self.step, won, failed)
        self._draws, self._known = 0, None
        self.advance_stabilization()
        return Recorded(self.step, changes, self._recluster() if due and len(self._table) else None)

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
        return self._stabiliser.multiplier(self._since)

    def current_kl_penalty(self) -> float:
        """The KL penalty of this step: `kl_base` times the multiplier."""
        return self.settings.kl_base * self.kl_penalty_multiplier()

    def advance_stabilization(self) -> None:
        """One step of stabilisation is over. `record_outcomes` does this; call it for policy updates besides."""
        if self._since is not None:
            self._since += 1
            if self._since >= self.settings.stabilisation_steps:
                self._since = None
            self._known = None

    # -- what is believed

    def difficulties(self) -> Floats:
        """The intrinsic difficulty of each task, float64[N] in [0, 1], in the order of `tasks`."""
        tasks, clusters, positions = self._counts()
        strength = self.settings.prior_strength
        prior = difficulty.cluster_rates(clusters, strength)[positions]
        rates = difficulty.solve_rates(tasks, prior, strength)
        return difficulty.intrinsic(tasks, rates, self.settings.verification_weight, strength)

    def curriculum_state(self) -> dict[str, Any]:
        """A summary for logs: step, KL multiplier, and of each cluster (by its id as text) its size, share of the
        draws, rate, learnability, progress, correlation and probability of a recent change."""
        belief, _ = beliefs(*self._counts(), self.settings)
        sizes, shares = self._clusters.sizes(), self.cluster_probabilities()
        change = [self._clusters.detectors[cluster].recent() for cluster in shares]
        others = {"size": sizes, "share": np.array(list(shares.values())), "change": np.array(change)}
        clusters = terms([str(cluster) for cluster in shares], belief, others)
        return {"step": self.step, "kl_multiplier": self.kl_penalty_multiplier(), "clusters": clusters}

    def task_terms(self) -> dict[str, dict[str, float]]:
        """The terms behind each task's probability, by task id."""
        _, belief = beliefs(*self._counts(), self.settings)
        others = {
            "cluster": self._clusters.labels.astype(np.float64),
            "difficulty": self.difficulties(),
            "share": self.task_probabilities(),
        }
        return terms(self._table.ids, belief, others)

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on alike; holds only what JSON can."""
        return {
            "name": "zero_resource",
            "version": VERSION,
            "seed": self.seed,
            "step": self.step,
            "table": self._table.state_dict(),
            "clusters": self._clusters.state_dict(),
            "projection": self._projection.state_dict(),
            "meaning": self._meaning.tolist(),
            "old": self._old.tolist(),
            "since": self._since,
            "last": self._last,
            "pending": self._pending,
            "guessed": self._guessed,
            "draws": self._draws,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, its seed too. ValueError when it is damaged or of another version."""
        for field, value in {"name": "zero_resource", "version": VERSION}.items():
            if state.get(field) != value:
                raise ValueError(f"state has {field} {state.get(field)!r}, but this curriculum has {value!r}")
        fresh = ZeroResourceCurriculum(self.settings, seed=self.seed, embed=self._embed)
        try:
            fresh._load(state)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"damaged state of a zero-resource curriculum: {error!r}") from error
        self.__dict__.update(fresh.__dict__)

    def _load(self, state: Mapping[str, Any]) -> None:
        self._table.load_state_dict(state["table"])
        self._clusters.load_state_dict(state["clusters"])
        self._projection.load_state_dict(state["projection"])
        n = len(self._table)
        self._meaning = np.array(state["meaning"], dtype=np.float64).reshape(n, len(self._projection.axes))
        self._old = np.array(state["old"], dtype=np.float64)
        if self._old.shape != (n,) or self._clusters.labels.shape != (n,):
            raise ValueError("its columns have different lengths")
        self.seed, self.step, self._draws = int(state["seed"]), int(state["step"]), int(state["draws"])
        self._since = None if state["since"] is None else int(state["since"])
        self._last, self._pending = int(state["last"]), float(state["pending"])
        self._guessed = bool(state["guessed"])

    # -- inside

    def _place(
        self, ids: Sequence[str], embeddings: Sequence[Sequence[float]] | NDArray[Any] | None
    ) -> tuple[Projection, Floats]:
        """The space of the tasks and where these lie in it, float64[n, Q]."""
        fitted = self._projection.centre
        if len(self._table) and (fitted is None) != (embeddings is None):
            have = "no embeddings" if fitted is None else "embeddings"
            raise ValueError(f"the tasks so far have {have}; register these likewise")
        if embeddings is None:
            return Projection(), np.zeros((len(ids), 0))
        vectors = checked_embeddings(embeddings, ids, None if fitted is None else len(fitted))
        projection = self._projection
        if fitted is None:
            projection = Projection()
            projection.fit(vectors, self.settings.dimensions)
        return projection, projection(vectors)

    def _counts(self) -> tuple[dict[str, Floats], dict[str, Floats], NDArray[np.int64]]:
        """Counts of tasks and of clusters as of now, and each task's cluster as a position."""
        tasks, positions = self._table.counts(self.step), self._clusters.positions()
        return tasks, by_cluster(tasks, positions, len(self._clusters.ids)), positions

    def _mixed(self, step: int | None = None) -> Floats:
        """The distribution before the floor: the bandit's and, while it fades, the one before."""
        now = step is None or step == self.step
        if now and self._known is not None:
            return self._known
        rng = generator(self.seed, self.step if step is None else step, "posterior")
        new = distribution(*self._counts(), self.settings, rng)
        mixed = self._stabiliser.mix(self._old, new, self._since)
        if now:
            self._known = mixed
        return mixed

    def _observe(self, won: Sequence[tuple[int, Floats]]) -> tuple[int, ...]:
        """Show each cluster's detector its step; the clusters that announce a change."""
        _, clusters, positions = self._counts()
        guess = self.settings.correlation
        correlation = np.maximum(correlations(clusters, guess), guess)
        seen: dict[int, list[Floats]] = {}
        for row, group in won:
            seen.setdefault(int(positions[row]), []).append(group)
        changes = []
        for k, groups in sorted(seen.items()):
            cluster = self._clusters.ids[k]
            trials = effective_size(np.array([float(len(group)) for group in groups]), float(correlation[k]))
            rate = float(np.concatenate(groups).mean())
            detector = self._clusters.detectors[cluster]
            if detector.observe(rate * trials, trials):
                changes.append(cluster)
                self._pending = max(self._pending, detector.recent())
        return tuple(changes)

    def _recluster(self) -> str:
        """Make the clusters fit what is known now, and start to fade over; what was done."""
        hard = self._pending >= self.settings.hard_threshold
        kind = "first" if self._guessed else "hard" if hard else "soft"
        if kind == "soft":
            self._clusters.reassign(self._meaning, self.difficulties())
        else:
            self._clusters.anew(self._meaning, self.difficulties())
        self._since, self._last = 0, self.step
        self._pending, self._guessed, self._known = 0.0, False, None
        return kind

    def _rng(self, purpose: str) -> np.random.Generator:
        """Fresh randomness for a draw within this step."""
        self._draws += 1
        return generator(self.seed, self.step, self._draws, purpose)
