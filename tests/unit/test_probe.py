"""The frozen probe: what is in it, that it is true, and that its measures are what they say."""

from __future__ import annotations

import gzip
import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from azrl.engine import Request, ScriptedEngine
from azrl.evals import items
from azrl.evals.items import BINS, held_out, load_probe
from azrl.evals.probe import measure_probe
from azrl.executor import Job, Limits, Result, Status, open_executor
from azrl.executor.mock import MockExecutor
from azrl.seeding import derive
from azrl.tasks import normalise
from azrl.tasks.prompts import build_template
from azrl.tasks.types import KINDS, Kind, Task

TEMPLATE = build_template("compact")
BUILDER = Path(__file__).parents[2] / "utils" / "build_probe.py"


def test_there_are_a_thousand_items_a_kind_250_a_bin() -> None:
    cells = Counter((task.kind, task.bin) for task in load_probe())
    assert cells == {(kind, size): 250 for kind in KINDS for size in BINS}
    assert BINS == (1, 2, 3, 4)
    assert len({task.id for task in load_probe()}) == 3000
    assert all(normalise.statements(task.program) == task.bin for task in load_probe())


def test_every_program_is_there_once_by_its_normalised_form_with_one_item_a_kind() -> None:
    by_key: dict[str, Counter] = {}
    for task in load_probe():
        by_key.setdefault(normalise.program_key(task.program), Counter())[task.kind] += 1
    assert len(by_key) == 1000
    assert set(map(frozenset, (c.items() for c in by_key.values()))) == {frozenset((k, 1) for k in KINDS)}
    assert held_out() == set(by_key)


@pytest.mark.parametrize("n", [4, 40, 100])
def test_any_prefix_holds_the_bins_in_equal_parts(n: int) -> None:
    for kind in KINDS:
        first = [task for task in load_probe() if task.kind is kind][:n]
        assert Counter(task.bin for task in first) == dict.fromkeys(BINS, n // 4)


def test_every_stored_output_is_what_the_program_gives() -> None:
    with open_executor("process") as executor:
        results = executor.run([Job(task.program, task.inputs) for task in load_probe()])
    assert [r.outputs for r in results] == [task.outputs for task in load_probe()]


def test_the_three_items_of_a_program_share_their_first_pair_and_half_is_hidden() -> None:
    by_program: dict[str, dict[Kind, Task]] = {}
    for task in load_probe():
        by_program.setdefault(task.program, {})[task.kind] = task
    for tasks in by_program.values():
        induction = tasks[Kind.INDUCTION]
        assert (len(induction.inputs), induction.shown) == (6, 3)
        for kind in (Kind.ABDUCTION, Kind.DEDUCTION):
            assert (tasks[kind].inputs, tasks[kind].outputs) == (induction.inputs[:1], induction.outputs[:1])


def test_the_probe_is_built_again_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("build_probe", BUILDER)
    assert spec
    assert spec.loader
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    monkeypatch.setattr(builder, "FILE", tmp_path / "probe.jsonl.gz")
    builder.main()
    assert gzip.decompress((tmp_path / "probe.jsonl.gz").read_bytes()) == gzip.decompress(
        items.FILE.read_bytes()
    )


def answers() -> dict[str, str]:
    """A right completion for every item's prompt."""
    missing = {
        Kind.DEDUCTION: lambda task: task.outputs[0],
        Kind.ABDUCTION: lambda task: task.inputs[0],
        Kind.INDUCTION: lambda task: task.program,
    }
    return {TEMPLATE.solve(task): missing[task.kind](task) for task in load_probe()}


GOLD = answers()


def lucky(rate: float):
    """A policy that is right with this chance, and never when greedy unless the chance is 1."""
    return lambda prompt, u, k: GOLD[prompt] if (1.0 - u) <= rate else "?"


def measured(policy, items: int = 100, samples: int = 8, seed: int = 0, executor=None) -> dict[str, float]:
    return measure_probe(
        engine=ScriptedEngine(policy),
        executor=executor or MockExecutor(),
        template=TEMPLATE,
        limits=Limits(),
        items=items,
        samples=samples,
        max_tokens=400,
        seed=seed,
    )


def test_who_is_always_right_scores_one_and_who_never_is_scores_none() -> None:
    for policy, score in ((lucky(1.0), 1.0), (lucky(0.0), 0.0)):
        result = measured(policy, items=40, samples=2)
        means = {k: v for k, v in result.items() if not k.startswith("probe/stderr/")}
        assert set(means.values()) == {score}
        assert {v for k, v in result.items() if k.startswith("probe/stderr/")} == {0.0}
        assert {f"probe/{m}" for m in ("greedy", "sampled", "pass@2")} <= means.keys()
        assert len(means) == 3 * (1 + len(KINDS) * (1 + len(BINS)))


def test_sampled_pass_at_1_and_pass_at_8_agree_with_chance() -> None:
    result = measured(lucky(0.2))
    for measure, chance in (("sampled", 0.2), ("pass@8", 1 - 0.8**8)):
        assert abs(result[f"probe/{measure}"] - chance) < 4 * result[f"probe/stderr/{measure}"]
        error = result[f"probe/stderr/{measure}"]
        spread = np.sqrt(0.2 * 0.8 / 8) if measure == "sampled" else np.sqrt(chance * (1 - chance))
        assert error == pytest.approx(spread / np.sqrt(300), rel=0.15)


def test_the_measures_are_those_of_the_completions_counted_by_hand() -> None:
    engine = ScriptedEngine(lucky(0.5))
    result = measured(lucky(0.5), items=20, samples=4, seed=9)
    for kind in KINDS:
        tasks = [task for task in load_probe() if task.kind is kind][:20]
        shares = []
        for task in tasks:
            prompt = TEMPLATE.solve(task)
            [group] = engine.generate([Request(prompt, 400, n=4, seed=derive(9, "probe", task.id))])
            shares.append(sum(c.text == GOLD[prompt] for c in group) / 4)
        assert result[f"probe/sampled/{kind}"] == pytest.approx(np.mean(shares))
        assert result[f"probe/stderr/sampled/{kind}"] == pytest.approx(np.std(shares) / np.sqrt(20))
        assert result[f"probe/pass@4/{kind}"] == pytest.approx(np.mean([s > 0 for s in shares]))
        of_bin = [s for s, task in zip(shares, tasks, strict=True) if task.bin == 3]
        assert result[f"probe/sampled/{kind}/3"] == pytest.approx(np.mean(of_bin))
    assert result["probe/sampled"] == pytest.approx(np.mean([result[f"probe/sampled/{k}"] for k in KINDS]))
    errors = [result[f"probe/stderr/sampled/{k}"] for k in KINDS]
    assert result["probe/stderr/sampled"] == pytest.approx(np.sqrt(np.sum(np.square(errors))) / 3)


def test_the_same_seed_measures_the_same_and_greedy_needs_none() -> None:
    one, again, other = (measured(lucky(0.5), items=12, samples=2, seed=s) for s in (1, 1, 2))
    assert one == again
    assert one["probe/sampled"] != other["probe/sampled"]
    greedy = {k: v for k, v in one.items() if "greedy" in k}
    assert greedy == {k: v for k, v in other.items() if "greedy" in k}
    assert measured(lucky(0.5), items=12, samples=0) == greedy


class HalfLost(MockExecutor):
    """Loses every second abduction."""

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        results = super().run(jobs)
        for i in [i for i, job in enumerate(jobs) if len(job.inputs) == 1][::2]:
            results[i] = Result(Status.INFRA, (None,), "lost")
        return results


def test_trouble_of_the_executor_is_no_wrong_answer() -> None:
    result = measured(lucky(1.0), items=40, samples=2, executor=HalfLost())
    assert {result[f"probe/{m}/abduction"] for m in ("greedy", "sampled", "pass@2")} == {1.0}
    assert result["infra/probe"] > 30
    assert "infra/probe" not in measured(lucky(1.0), items=4)
