"""The whole loop with real tasks and verdicts: what is proposed, practised, earned and trained on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from loop import opened, settings

from azrl.curriculum import ALGORITHMS
from azrl.evals.items import held_out
from azrl.executor import Job, Result, Status
from azrl.executor.mock import MockExecutor
from azrl.selfplay.credit import PROPOSER, SOLVER
from azrl.selfplay.loop import SelfPlay
from azrl.selfplay.scripted import respond
from azrl.tasks.normalise import program_key
from azrl.tasks.prompts import build_template
from azrl.tasks.types import KINDS, Kind


def of(role: str, samples: Sequence) -> list:
    return [sample for sample in samples if sample.cell[1] == role]


def every_entry(play: SelfPlay) -> list:
    buffer = play.parts.buffer
    ids = [row[0] for row in buffer._query("SELECT id FROM task")]
    return [buffer.get(id) for id in ids]


def test_reuse_trains_on_the_rollouts_that_measured_learnability(tmp_path: Path) -> None:
    with opened(tmp_path, settings()) as play:
        steps = play.steps(3)
        attempts = [sum(v.attempts for v in play.parts.buffer.history(e.task.id)) for e in every_entry(play)]
    assert sum(attempts) == sum(len(of(SOLVER, samples)) for samples in play.updates)
    for step, samples in zip(steps, play.updates, strict=True):
        assert len(of(SOLVER, samples)) % 4 == 0
        assert step.metrics["trained/share"] >= 0.9
        assert step.metrics["trained/sequences"] == len(samples)


def test_fresh_trains_on_one_new_rollout_of_each_task(tmp_path: Path) -> None:
    (tmp_path / "reuse").mkdir()
    (tmp_path / "fresh").mkdir()
    with opened(tmp_path / "reuse", settings()) as play:
        [reuse] = play.steps(1)
    with opened(tmp_path / "fresh", settings(selfplay={"solver_rollouts": "fresh"})) as other:
        [fresh] = other.steps(1)
    measured, trained = of(SOLVER, play.updates[0]), of(SOLVER, other.updates[0])
    assert len(measured) == 4 * len(trained)
    assert {s.prompt_ids for s in measured} == {s.prompt_ids for s in trained}
    assert len({s.prompt_ids for s in trained}) == len(trained)
    assert fresh.metrics["trained/share"] == pytest.approx(0.25)
    assert fresh.metrics["reward/proposer/deduction"] == reuse.metrics["reward/proposer/deduction"]
    kinds = {"solve_rate/" + kind for kind in KINDS}
    assert {k: fresh.metrics[k] for k in kinds} == {k: reuse.metrics[k] for k in kinds}


def test_shuffled_rewards_stay_in_their_cell_but_not_with_their_completion(tmp_path: Path) -> None:
    (tmp_path / "honest").mkdir()
    (tmp_path / "shuffled").mkdir()
    with opened(tmp_path / "honest", settings()) as play:
        [honest] = play.steps(1)
    with opened(tmp_path / "shuffled", settings(selfplay={"shuffle_rewards": True})) as other:
        [shuffled] = other.steps(1)
    names = [name for name in honest.metrics if name.startswith(("reward/", "solve_rate/"))]
    assert len(names) == 9
    assert [shuffled.metrics[n] for n in names] == pytest.approx([honest.metrics[n] for n in names])
    [ours], [theirs] = play.updates, other.updates
    assert [(s.prompt_ids, s.token_ids, s.cell) for s in ours] == [
        (s.prompt_ids, s.token_ids, s.cell) for s in theirs
    ]
    for cell in {s.cell for s in ours}:
        mine = [s.advantage for s in ours if s.cell == cell]
        dealt = [s.advantage for s in theirs if s.cell == cell]
        np.testing.assert_allclose(sorted(mine), sorted(dealt))
    assert [s.advantage for s in ours] != [s.advantage for s in theirs]


ARMS = [f"{kind}:{size}" for kind in KINDS for size in (1, 2, 3, 4)]
NEEDED = {"proportional": {"weights": {arm: i + 1.0 for i, arm in enumerate(ARMS)}}}


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_curriculum_chooses_and_learns_and_goes_on_from_its_state(tmp_path: Path, name: str) -> None:
    chosen = settings(curriculum={"name": name, "options": NEEDED.get(name, {})})
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with opened(tmp_path / "one", chosen) as play:
        steps = play.steps(3)
        state = json.loads(json.dumps(play.state_dict()))
        shares = play.parts.curriculum.probabilities(4)
        terms = {f"curriculum_terms/{key}" for key in play.parts.curriculum.explain()}
    assert terms <= set(steps[-1].metrics)
    assert sum(v for k, v in steps[-1].metrics.items() if k.startswith("curriculum/")) == 24
    with opened(tmp_path / "two", chosen) as other:
        other.load_state_dict(state)
        np.testing.assert_array_equal(other.parts.curriculum.probabilities(4), shares)


def test_programs_of_the_probe_never_enter_the_buffer(tmp_path: Path) -> None:
    with opened(tmp_path, settings()) as play:
        steps = play.steps(4)
        entries = every_entry(play)
    assert sum(step.metrics["gate/held_out"] for step in steps) > 0
    assert len(entries) > 50
    keys = {program_key(entry.task.program) for entry in entries}
    assert not keys & held_out()
    assert keys == {entry.key for entry in entries}


def test_what_the_buffer_holds_is_true(tmp_path: Path) -> None:
    with opened(tmp_path, settings()) as play:
        play.steps(2)
        entries = every_entry(play)
    results = MockExecutor().run([Job(e.task.program, e.task.inputs) for e in entries])
    assert [r.outputs for r in results] == [e.task.outputs for e in entries]
    assert {e.task.kind for e in entries} == set(KINDS)
    assert {e.task.shown for e in entries if e.task.kind is Kind.INDUCTION} == {3}


class Troubled(MockExecutor):
    """Says INFRA to every job that `fails`."""

    def __init__(self, fails) -> None:
        super().__init__()
        self.fails = fails

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        trouble = [Result(Status.INFRA, (None,) * len(job.inputs), "worker lost") for job in jobs]
        return [
            t if self.fails(job) else r for t, job, r in zip(trouble, jobs, super().run(jobs), strict=True)
        ]


def test_trouble_of_the_executor_earns_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, settings(), executor=Troubled(lambda job: True)) as play:
        assert play.seed()["admitted"] == 0
        assert every_entry(play) == []
        step = play.step(1)
    assert step.metrics["gate/infra"] >= 12
    assert step.metrics["admitted"] == 0.0
    refused = step.metrics.get("gate/duplicate", 0.0)  # twice the same in one batch: the proposer's fault
    assert step.metrics["trained/sequences"] == refused == sum(map(len, play.updates))


def test_attempts_without_a_verdict_are_neither_trained_on_nor_counted(tmp_path: Path) -> None:
    sandbox = Troubled(lambda job: False)
    with opened(tmp_path, settings(), executor=sandbox) as play:
        play.seed()
        judging = {e.task.inputs[e.task.shown :] for e in every_entry(play) if e.task.kind is Kind.INDUCTION}
        sandbox.fails = lambda job: tuple(job.inputs) in judging
        step = play.step(1)
        entries = [e for e in every_entry(play) if e.task.inputs[e.task.shown :] in judging and e.visits]
        visits = [visit for e in entries for visit in play.parts.buffer.history(e.task.id)]
        prompts = {tuple(play.parts.solver.prompt(e.task).encode()) for e in entries}
    trained = [s for s in of(SOLVER, play.updates[0]) if s.prompt_ids in prompts]
    assert not any(bytes(s.token_ids[:-1]).startswith(b"def") for s in trained)  # malformed ones alone
    assert sum(visit.attempts for visit in visits) == len(trained) > 0
    assert sum(visit.successes for visit in visits) == 0
    assert step.metrics["trained/share"] < 1.0
    unjudged = [r for r in step.rollouts if r["role"] == SOLVER and r["correct"] is None]
    assert {(r["reward"], r["advantage"], r["reason"]) for r in unjudged} == {(None, None, "infra")}


def test_every_arm_gets_its_quota_of_a_uniform_curriculum(tmp_path: Path) -> None:
    with opened(tmp_path, settings()) as play:
        steps = play.steps(2)
    for step in steps:
        quota = {k: v for k, v in step.metrics.items() if k.startswith("curriculum/")}
        assert quota == {f"curriculum/{kind}:{size}": 2 for kind in KINDS for size in (1, 2, 3, 4)}


def test_proposals_are_asked_for_with_references_and_a_spec(tmp_path: Path) -> None:
    asked: list[str] = []

    def policy(prompt: str, u: float, k: int) -> str:
        asked.append(prompt)
        return respond(prompt, u, 0.5)

    with opened(tmp_path, settings(), policy) as play:
        play.seed()
        programs = {e.task.program for e in every_entry(play)}
        asked.clear()
        play.step(1)
    proposals = [p for p in asked if p.startswith("propose")]
    assert len(proposals) == 24
    assert Counter(p.split("\n")[0] for p in proposals) == {
        f"propose {kind} {'|' * size}": 2 for kind in KINDS for size in (1, 2, 3, 4)
    }
    for prompt in proposals:
        blocks = prompt.split("ref\n")[1:]
        if prompt.startswith("propose induction"):
            assert prompt.split("\n", 1)[1].removesuffix("\nin ") in programs
        else:
            assert len(blocks) == len(set(blocks)) == 2
            assert {block.split("\nin ")[0] for block in blocks} <= programs


def test_a_prompt_that_is_too_long_drops_references_and_keeps_its_kind(tmp_path: Path) -> None:
    asked: list[str] = []

    def policy(prompt: str, u: float, k: int) -> str:
        asked.append(prompt)
        return respond(prompt, u, 0.5)

    limit = 90
    with opened(tmp_path, settings(model={"max_prompt_length": limit}), policy) as play:
        play.seed()
        asked.clear()
        play.step(1)
    proposals = [p for p in asked if p.startswith("propose")]
    assert all(len(p) <= limit for p in proposals)
    kinds = Counter(p.split()[1] for p in proposals)
    assert kinds["abduction"] == 8
    assert kinds["induction"] + kinds["deduction"] == 16
    shown = Counter(p.count("ref\n") for p in proposals if p.startswith("propose abduction"))
    assert shown[0] + shown[1] > 0
    assert max(shown) <= 2


def test_a_task_that_is_too_long_to_ask_is_refused_and_never_asked(tmp_path: Path) -> None:
    asked: list[str] = []

    def policy(prompt: str, u: float, k: int) -> str:
        asked.append(prompt)
        return respond(prompt, u, 0.5)

    limit = 80
    with opened(tmp_path, settings(model={"max_prompt_length": limit}), policy) as play:
        counts = play.seed()
        step = play.step(1)
        entries = every_entry(play)
        prompts = [play.parts.solver.prompt(e.task) for e in entries]
    assert counts["too_large"] > 0 < step.metrics["gate/too_large"]
    assert entries
    assert max(map(len, [*prompts, *asked])) <= limit


def test_practice_comes_from_the_buffer_with_the_templates_prompts(tmp_path: Path) -> None:
    asked: list[str] = []

    def policy(prompt: str, u: float, k: int) -> str:
        asked.append(prompt)
        return respond(prompt, u, 0.5)

    template = build_template("compact")
    with opened(tmp_path, settings(selfplay={"max_new_tasks": 3}), policy) as play:
        play.seed()
        before = {template.solve(e.task): e.task for e in every_entry(play)}
        asked.clear()
        play.step(1)
        now = {template.solve(e.task): e for e in every_entry(play)}
    solved = Counter(p for p in asked if not p.startswith("propose"))
    assert set(solved.values()) == {4}
    old, new = [p for p in solved if p in before], [p for p in solved if p not in before]
    assert len(old) == 12
    assert Counter(before[p].kind for p in old) == dict.fromkeys(KINDS, 4)
    assert len(new) == 3
    assert {now[p].visits for p in solved} == {1}
    assert len(now) > len(before) + 3  # the rest of the new tasks wait
    waiting = [e for p, e in now.items() if p not in before and p not in solved]
    assert {e.visits for e in waiting} == {0}


def test_seeding_fills_the_buffer_with_the_models_own_tasks(tmp_path: Path) -> None:
    with opened(tmp_path, settings(selfplay={"seed_batch_factor": 3})) as play:
        counts = play.seed()
        entries = every_entry(play)
        assert play.updates == []
    assert sum(counts.values()) == 72
    assert counts["admitted"] == len(entries) > 30
    assert {(e.created_step, e.visits) for e in entries} == {(0, 0)}


def test_a_loop_without_seeds_finds_its_first_tasks_by_itself(tmp_path: Path) -> None:
    with opened(tmp_path, settings(selfplay={"seed_batch_factor": 0})) as play:
        assert play.seed() == {}
        first = play.step(1)
        second = play.step(2)
    assert first.metrics["buffer/size"] > 0
    assert "reward/proposer/induction" not in first.metrics  # there was nothing to induce from
    assert "reward/proposer/induction" in second.metrics


def test_what_the_learner_says_of_two_updates_is_joined_and_hides_nothing(tmp_path: Path) -> None:
    said = [{"tokens": 1.0, "entropy": 9.0, "loss": 2.0, "ratio_max": 1.0}]
    said.append({"tokens": 1.0, "entropy": 9.0, "loss": 4.0, "ratio_max": 3.0})
    with opened(tmp_path, settings(selfplay={"practise_first": True})) as play:
        play.seed()
        taken: list[Sequence] = []

        def update(samples: Sequence, *, seed: int, progress: float = 0.0) -> dict[str, float]:
            taken.append(samples)
            return said[len(taken) - 1]

        play.parts.learner.update = update  # type: ignore[method-assign]
        step = play.step(1)
    few, many = map(len, taken)
    assert step.metrics["tokens"] == step.sampled_tokens > 1
    assert step.metrics["entropy"] == step.signals["entropy"] != 9.0
    assert step.metrics["trained/tokens"] == sum(len(s.token_ids) for part in taken for s in part)
    assert step.metrics["loss"] == pytest.approx((2 * few + 4 * many) / (few + many))
    assert step.metrics["ratio_max"] == 3.0


def test_the_state_of_the_loop_survives_json(tmp_path: Path) -> None:
    with opened(tmp_path, settings()) as play:
        play.steps(2)
        state = json.loads(json.dumps(play.state_dict()))
        other = SelfPlay(play.parts)
        other.load_state_dict(state)
        assert other.state_dict() == play.state_dict()
    assert 0 < len(state["recent"]) <= 512


def test_a_program_seen_before_earns_less_when_novelty_is_asked_for(tmp_path: Path) -> None:
    weight, n = 0.5, 4
    with opened(tmp_path, settings(selfplay={"novelty_weight": weight, "practise": 0})) as play:
        play.seed()
        before = Counter(e.key for e in every_entry(play))
        step = play.step(1)
        entries = {e.task.id: e for e in every_entry(play)}
        visits = {id: play.parts.buffer.history(id) for id in entries}
    repeated = 0
    for record in (
        r for r in step.rollouts if r["role"] == PROPOSER and r["task_id"] and r["reward"] is not None
    ):
        [visit] = visits[record["task_id"]]
        times = before[entries[record["task_id"]].key]
        learnable = 1 - visit.successes / n if 0 < visit.successes < n else 0.0
        repeated += learnable > 0 < times
        assert record["reward"] == pytest.approx(learnable / (1 + weight * times))
    assert repeated


def test_every_completion_trained_on_is_what_the_engine_said(tmp_path: Path) -> None:
    with opened(tmp_path, settings()) as play:
        play.steps(2)
    for samples in play.updates:
        assert of(PROPOSER, samples)
        for sample in samples:
            assert len(sample.token_ids) == len(sample.logprobs) > 0
            assert np.isfinite(sample.advantage)
