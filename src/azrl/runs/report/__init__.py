"""report.html: one file that shows a whole run; no network, no script, no trust in what the model wrote."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import Template

from azrl.runs.atomic import disk_errors, write_atomic
from azrl.runs.report.curriculum import curriculum_section
from azrl.runs.report.data import RunData, read_run
from azrl.runs.report.gallery import gallery_section
from azrl.runs.report.headline import headline
from azrl.runs.report.markup import Html, join, tag, text
from azrl.runs.report.probe import probe_section
from azrl.runs.report.sections import (
    alarms_section,
    buffer_section,
    executor_section,
    gate_section,
    health_section,
    rewards_section,
)

_SECTIONS = (
    ("probe", "What the probe says", probe_section),
    ("rewards", "Rewards", rewards_section),
    ("gate", "Proposals and the gate", gate_section),
    ("curriculum", "Curriculum", curriculum_section),
    ("buffer", "Task buffer", buffer_section),
    ("health", "Health and time", health_section),
    ("executor", "Sandbox", executor_section),
    ("alarms", "Alarms", alarms_section),
    ("gallery", "Gallery", gallery_section),
)


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into the run directory and return its path; UserError when that is no run.

    Works on a run that is going on, was stopped or is damaged: what is missing becomes a sentence.
    """
    run = read_run(run_dir)
    path = run_dir / "report.html"
    with disk_errors(f"write {path}"):
        write_atomic(path, render(run).encode())
    return path


def render(run: RunData) -> str:
    """The whole page."""
    how = (
        "Charts over steps: faint is each step, bold a moving mean. Point at a chart, or tap it, to read it."
    )
    links = tag("nav", *(tag("a", title, href=f"#{name}") for name, title, _ in _SECTIONS))
    body = [tag("section", tag("h2", title), show(run), id=name) for name, title, show in _SECTIONS]
    page = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return Template(page).substitute(
        title=text(f"{run.folder.resolve().name} · azrl"),
        body=join([headline(run), links, tag("p", how, class_="note"), *body, _config(run)]),
    )


def _config(run: RunData) -> Html:
    shown = tag(
        "details", tag("summary", "Resolved configuration"), tag("pre", run.config_text, class_="code")
    )
    return tag(
        "section",
        tag("h2", "Config"),
        shown if run.config_text else tag("p", "None was found.", class_="gone"),
    )
