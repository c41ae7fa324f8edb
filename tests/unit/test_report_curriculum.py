"""The report's pictures of the curriculum: quotas, chances, a picture a term, clusters."""

from __future__ import annotations

import re
from pathlib import Path

from synthetic_run import write_lines

from azrl.runs.report import write_report


def cells(figure: str) -> list[tuple[str, float]]:
    """The tips of a heat map's cells and how deep they are painted."""
    found = re.findall(r"--v:([\d.]+)[^>]*><title>([^<]*)</title>", figure)
    return [(tip, float(depth)) for depth, tip in found]


def figure(page: str, title: str) -> str:
    """The drawing of one card."""
    return page.split(f"<figcaption>{title}</figcaption>")[1].split("</figure>")[0]


def test_every_term_of_the_curriculum_has_a_picture(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    lines = [
        {"step": step, "curriculum/a:1": 2, "curriculum/b:2": 2}
        | {"curriculum_terms/a:1": 0.25, "curriculum_terms/b:2": 0.75}
        | {
            "curriculum_terms/a:1/slope": -0.5,
            "curriculum_terms/b:2/slope": 1.5,
            "curriculum_terms/target": step,
        }
        for step in (1, 2)
    ]
    del lines[1]["curriculum_terms/b:2/slope"]
    write_lines(run / "metrics.jsonl", lines)
    page = write_report(run).read_text(encoding="utf-8")
    assert cells(figure(page, "Term: weight")) == [
        ("a:1, 1: 0.25", 0.333), ("a:1, 2: 0.25", 0.333), ("b:2, 1: 0.75", 1.0), ("b:2, 2: 0.75", 1.0),
    ]  # fmt: skip
    assert cells(figure(page, "Term: slope")) == [
        ("a:1, 1: -0.5", 0.0), ("a:1, 2: -0.5", 0.0), ("b:2, 1: 1.5", 1.0),
    ]  # fmt: skip
    assert 'class="line"' in figure(page, "Term: target")
    assert "Clusters of stored tasks" not in page


def test_a_long_run_shows_means_and_the_clusters_that_lasted(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    lines = [
        {
            "step": step,
            "curriculum/a:1": 1,
            "cluster_terms/7/rate": step % 2,
            f"cluster_terms/{100 + step}/rate": 1,
        }
        for step in range(1, 81)
    ]
    write_lines(run / "metrics.jsonl", lines)
    page = write_report(run).read_text(encoding="utf-8")
    shown = figure(page, "Clusters of stored tasks: rate")
    assert cells(shown)[:2] == [("cluster 7, 1: 0.5", 0.5), ("cluster 7, 3: 0.5", 0.5)]
    assert {tip.split(",")[0] for tip, _ in cells(shown)} == {
        "cluster 7",
        *(f"cluster {n}" for n in range(101, 116)),
    }
    assert "65 short-lived clusters are left out." in shown
    assert "steps, 2 a cell" in shown


def test_a_curriculum_without_terms_shows_its_quotas_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    write_lines(run / "metrics.jsonl", [{"step": 1, "curriculum/a:1": 3}])
    page = write_report(run).read_text(encoding="utf-8")
    assert cells(figure(page, "Tasks drawn, by kind and bin")) == [("a:1, 1: 3", 1.0)]
    assert "What the chances are made of" not in page
    assert "Chance of each arm" not in page
