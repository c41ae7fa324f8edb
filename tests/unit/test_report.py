"""The report: it shows what the run wrote, survives missing and damaged parts, runs nothing of a model's."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import PROGRAM, write_lines, write_run

from azrl.errors import UserError
from azrl.runs.report import write_report
from azrl.runs.report.charts import smooth, thin
from azrl.runs.report.data import read_run
from azrl.runs.report.frame import number, ticks
from azrl.runs.report.markup import shorten, tag, text

ATTACKS = (
    "<script>document.title='owned'</script>",
    "</pre></code></svg></title></style><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\" autofocus tabindex=1 onfocus=document.title='owned' x=\"",
    "' onmouseover='document.title=`owned`' style='animation:x",
    "<svg onload=document.title='owned'><animate onbegin=document.title='owned'>",
    "<iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>",
    "<!-- --!><script>document.title='owned'</script><meta http-equiv=refresh content='0;url=javascript:1'>",
    "$body $$title ${title} \x00\x1b[31m \u202e \ud800 &lt;script&gt; &#x3c;script>",
)
POLICY = '<meta http-equiv="Content-Security-Policy"'


class Outline(HTMLParser):
    """Elements and attribute names of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.said: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def outline(folder: Path) -> Outline:
    return Outline(write_report(folder).read_text(encoding="utf-8"))


def sections(page: Outline) -> str:
    return " ".join(" ".join(page.said).split())


def test_a_full_run_shows_every_part(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    page = outline(run)
    said = sections(page)
    for words in (
        "+11.0 pt",
        "41.0 → 52.0 %, ± 1.1",
        "120 steps",
        "Gate funnel, whole run",
        "Tasks drawn, by kind and bin",
        "Chance of each arm in one draw",
        "Term: gain",
        "Term: slope",
        "Term: stage",
        "Clusters of stored tasks: rate",
        "Clustered anew at step 20, 60.",
        "Admitted programs of the size asked for",
        "Solve rate of stored tasks",
        "unique_rate fired 2×, at step 33, 34",
        "3 of 8 shown are right",
        "refused: trivial",
        "Practised most",
        "Resolved configuration",
        "model tiny · seed 42",
        "induction · 4",
        "Seconds a step, by phase",
    ):
        assert words in said, words
    assert page.tags["figure"] >= 20
    assert PROGRAM in "".join(page.said)
    assert "damaged" not in said


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    page = outline(write_run(tmp_path / "run"))
    assert not page.tags.keys() & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    assert "url(" not in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_the_funnel_adds_up(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    line = {"step": 1, "gate/admitted": 5, "gate/parse": 3, "gate/duplicate": 2, "gate/newly_named": 10}
    write_lines(run / "metrics.jsonl", [line, line | {"step": 2}])
    said = sections(outline(run))
    funnel = said.split("Gate funnel, whole run")[1]
    stages = ("proposed", "parse", "duplicate", "newly_named", "admitted")
    places = [funnel.index(f" {stage} ") for stage in stages]
    assert places == sorted(places)
    for words in ("40", "−6 · 15.0 %", "−4 · 10.0 %", "−20 · 50.0 %", "10 · 25.0 %"):
        assert words in funnel


def test_one_probe_claims_no_gain(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    write_lines(run / "metrics.jsonl", [{"step": 0, "probe/sampled": 0.25, "probe/sampled/deduction": 0.25}])
    said = sections(outline(run))
    assert "25 %" in said
    assert "measured once" in said
    assert "pt sampled" not in said


@pytest.mark.parametrize("missing", ["metrics.jsonl", "buffer.sqlite", "config.resolved.yaml", "rollouts"])
def test_a_missing_part_is_a_sentence(tmp_path: Path, missing: str) -> None:
    run = write_run(tmp_path / "run", steps=20)
    target = run / missing
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    said = sections(outline(run))
    expected = {"rollouts": "No rollouts were written"}.get(missing, f"There is no {missing}")
    assert expected in said


def test_zero_steps(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.resolved.yaml").write_text("run: {seed: 1}\n")
    said = sections(outline(run))
    for words in (
        "No step was finished",
        "No probe was measured",
        "No rewards",
        "No proposals",
        "No quotas",
        "No alarm",
    ):
        assert words in said


def test_damaged_lines_are_counted_and_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps=30)
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 31, "loss": 0.\n[1]\n{"loss": 2}\n\xff\xfe\n' + b"[" * 9000 + b"\n")
        file.write(
            b'{"step": 31, "entropy": NaN, "loss": 1e999, "kl": "x", "tokens": 1' + b"0" * 400 + b"}\n"
        )
    with (run / "rollouts" / "step_30.jsonl").open("a") as file:
        file.write('{"role": "solver"')
    data = read_run(run)
    assert [line.split(": ") for line in data.damaged] == [
        ["metrics.jsonl:32", "not JSON"],
        ["metrics.jsonl:33", "not an object"],
        ["metrics.jsonl:34", "no step number"],
        ["metrics.jsonl:35", "not JSON"],
        ["metrics.jsonl:36", "not JSON"],
        ["step_30.jsonl:30", "not JSON"],
    ]
    assert data.steps[-1] == {"step": 31.0}
    said = sections(outline(run))
    assert "6 damaged lines left out" in said
    assert "metrics.jsonl:32: not JSON" in said


def test_lines_of_one_step_are_joined(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    write_lines(
        run / "metrics.jsonl",
        [{"step": 2, "loss": 1}, {"step": 1, "loss": 3}, {"step": 2, "probe/greedy": 0.5}],
    )
    data = read_run(run)
    assert data.steps == ({"step": 1.0, "loss": 3.0}, {"step": 2.0, "loss": 1.0, "probe/greedy": 0.5})


def test_rollouts_of_odd_shapes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps=10)
    attempt = {"role": "solver", "task_id": ["x"], "kind": None, "correct": "yes", "reward": "?", "inputs": 3}
    proposal = {"role": "proposer", "reason": {"a": 1}, "response": None, "kind": 4}
    write_lines(run / "rollouts" / "step_10.jsonl", [{}, attempt | {"program": 7}, proposal])
    (run / "rollouts" / "step_x.jsonl").write_text("not a number")
    assert "refused: {&#x27;a&#x27;: 1}" in write_report(run).read_text()


@pytest.mark.parametrize("damage", ["text", "no table", "bad json"])
def test_a_damaged_buffer(tmp_path: Path, damage: str) -> None:
    run = write_run(tmp_path / "run", steps=10)
    path = run / "buffer.sqlite"
    if damage == "bad json":
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE task SET json = '{'")
        connection.close()
        assert "Stored tasks, by kind and bin" in sections(outline(run))
        return
    for file in run.glob("buffer.sqlite*"):
        file.unlink()
    if damage == "text":
        path.write_text("no database" * 200)
    else:
        sqlite3.connect(path).execute("CREATE TABLE other (x)").connection.close()
    assert "buffer.sqlite could not be read" in sections(outline(run))


def test_the_report_leaves_the_buffer_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps=10)
    before = (run / "buffer.sqlite").read_bytes()
    write_report(run)
    assert (run / "buffer.sqlite").read_bytes() == before


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run directory"):
        write_report(tmp_path / "absent")
    with pytest.raises(UserError, match="not a run directory"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_run_is_a_clear_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps=10)
    run.chmod(0o500)
    with pytest.raises(UserError, match=r"cannot write .*report\.html"):
        write_report(run)


def test_an_old_report_survives_a_failed_write(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps=10)
    (run / "report.html").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        write_report(run)
    assert (run / "report.html").is_dir()
    assert not list(run.glob(".tmp*"))


def test_model_text_adds_no_element_and_no_attribute(tmp_path: Path) -> None:
    tame = outline(write_run(tmp_path / "tame", steps=20))
    for at, attack in enumerate(ATTACKS):
        run = write_run(tmp_path / f"hostile{at}", steps=20, program=attack, response=attack)
        hostile = outline(run)
        assert hostile.tags == tame.tags
        assert hostile.attributes == tame.attributes
        assert not any(name.startswith("on") for name in hostile.attributes)


def test_metric_names_are_escaped(tmp_path: Path) -> None:
    run = tmp_path / "run<b>"
    run.mkdir()
    prefixes = "gate alarm curriculum curriculum_share curriculum_terms cluster_terms time solve_rate length"
    keys = [f"{prefix}/" for prefix in [*prefixes.split(), "probe/greedy"]]
    line: dict[str, object] = {key + attack: 1 for key in keys for attack in ATTACKS[:-1]}
    write_lines(run / "metrics.jsonl", [{"step": step, "probe/greedy": 0.5} | line for step in (1, 2)])
    page = outline(run)
    assert not page.tags.keys() & {"script", "img", "iframe", "b<b>"}
    assert not any(name.startswith("on") for name in page.attributes)


def browser(page: Path, profile: Path) -> str:
    """The page's elements after a real browser loaded it and ran what it would run."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    alone = "--disable-quic --disable-background-networking --disable-component-update --disable-sync"
    flags = [
        *alone.split(),
        "--disable-gpu",
        "--no-first-run",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=2000",
    ]
    command = [chromium, "--headless", "--no-sandbox", *flags, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "</html>" in done.stdout, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_no_script_runs_in_a_browser(tmp_path: Path) -> None:
    control = tmp_path / "control.html"
    control.write_text(f"<title>calm</title><body>{ATTACKS[0]}")
    assert "<title>owned</title>" in browser(control, tmp_path / "profile0"), (
        "the browser runs no script at all"
    )
    hostile = "\n".join(ATTACKS)
    page = write_report(write_run(tmp_path / "calm", steps=20, program=hostile, response=hostile))
    bare = tmp_path / "bare.html"
    source = page.read_text(encoding="utf-8")
    assert POLICY in source
    bare.write_text(
        "\n".join(line for line in source.split("\n") if not line.startswith(POLICY)), encoding="utf-8"
    )
    for at, shown in enumerate((page, bare)):
        dom = browser(shown, tmp_path / f"profile{at + 1}")
        assert "<title>calm · azrl</title>" in dom
        assert not Outline(dom).tags.keys() & {"script", "iframe", "img"}


@given(st.text())
def test_text_comes_back_as_text(value: str) -> None:
    """Whatever is shown or put into an attribute is read back by an HTML parser, and nothing else."""
    page = Outline(tag("p", value, title=value))
    assert page.tags == {"p": 1}
    assert page.attributes == {"title"}
    if value.isprintable():
        assert "".join(page.said) == value


def test_unseen_characters_are_shown() -> None:
    assert text("a\x00b\u202ec\ud800") == "a\\u0000b\\u202ec\\ud800"
    assert text("tab\tline\n") == "tab\tline\n"


def test_shorten_says_how_much() -> None:
    assert shorten("abc", 3) == "abc"
    assert shorten("a" * 1503, 3) == "aaa … (1,500 more characters)"


@pytest.mark.parametrize(
    ("value", "percent", "shown"),
    [(0.4123, True, "41.2 %"), (2_520_000, False, "2.52 M"), (12_345, False, "12.3 k"), (4710, False, "4710"),
     (0.00012, False, "1.20e-04"), (0, False, "0"), (-0.5, False, "-0.5")],
)  # fmt: skip
def test_numbers_are_short(value: float, percent: bool, shown: str) -> None:
    assert number(value, percent) == shown


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_and_inside(low: float, span: float) -> None:
    marks = ticks(low, low + span)
    slack = 1e-6 * (abs(low) + span)
    assert 1 <= len(marks) <= 12
    assert all(low - slack <= mark <= low + span + slack for mark in marks)


def test_smoothing_keeps_length_and_level() -> None:
    points = [(float(step), float(step % 2)) for step in range(120)]
    trend, window = smooth(points)
    assert window == 11
    assert [step for step, _ in trend] == [step for step, _ in points]
    assert all(abs(value - 0.5) < 0.1 for _, value in trend)
    assert smooth(points[:10]) == (points[:10], 1)
    assert len(thin(points, 50)) <= 50
    assert sum(value for _, value in thin(points, 60)) == pytest.approx(30)
