"""The command line from outside: what it prints, what it returns, and what it hands to the verbs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from azrl import cli, machine, preflight
from azrl.config import Config, load_config, to_yaml
from azrl.engine.vllm import version
from azrl.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working folder, no settings from outside, no GPU, and weights of the tiny model."""
    for name in [name for name in os.environ if name.startswith("AZRL__")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr(machine, "gpus", lambda: ((), "no NVIDIA driver"))
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "model.safetensors").touch()
    monkeypatch.setattr(preflight, "SHIPPED", shipped)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, dict[str, Any]]]:
    """What the train verb was called with; the stand-in returns 7."""
    calls: list[tuple[Config, dict[str, Any]]] = []

    def train(config: Config, **keywords: Any) -> int:
        calls.append((config, keywords))
        return 7

    module = types.ModuleType("azrl.selfplay.train")
    module.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azrl.selfplay.train", module)
    return calls


def tiny(folder: Path, text: str = "") -> str:
    """A preset for the tiny model."""
    path = folder / "mine.yaml"
    path.write_text(text or "run:\n  seed: 5\n")
    return str(path)


def a_run(folder: Path, name: str, **settings: Any) -> Path:
    """A run folder with its configuration."""
    path = folder / name
    path.mkdir(parents=True)
    config = Config.model_validate({"run": {"name": name, **settings}})
    (path / "config.resolved.yaml").write_text(to_yaml(config))
    return path


def test_flags_and_overrides_reach_training(tmp_path: Path, trained: list[Any]) -> None:
    words = ["--config", tiny(tmp_path), "training.learning_rate=2e-5", "--iterations", "9", "run.seed=6"]
    words += ["--heartbeat", "300", "--name", "first"]
    assert cli.main([*words, "--seed", "7"]) == 7
    [(config, keywords)] = trained
    assert (config.run.iterations, config.run.seed, config.run.heartbeat_s) == (9, 7, 300.0)
    assert (config.training.learning_rate, config.run.name) == (2e-5, "first")
    assert keywords == {
        "resume": None,
        "checkpoint": None,
        "command": ["python", "main.py", *words, "--seed", "7"],
    }


def test_the_verb_train_may_be_said(tmp_path: Path, trained: list[Any]) -> None:
    assert cli.main(["train", "--config", tiny(tmp_path)]) == 7
    assert trained[0][0].run.seed == 5


def test_a_run_without_a_name_gets_a_free_one_from_its_preset_and_the_time(
    tmp_path: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: form.replace("%Y%m%d-%H%M%S", "20300102-030405"))
    for _ in range(3):
        cli.main(["--config", tiny(tmp_path)])
        (tmp_path / "runs" / trained[-1][0].run.name).mkdir(parents=True)
    stem = "mine-20300102-030405"
    assert [config.run.name for config, _ in trained] == [stem, f"{stem}-2", f"{stem}-3"]


def test_environment_variables_count(
    tmp_path: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZRL__RUN__ITERATIONS", "3")
    cli.main(["--config", tiny(tmp_path)])
    assert trained[0][0].run.iterations == 3


@pytest.mark.parametrize(
    "words", [["--resume"], ["--resume", "latest"], ["--resume", "run.stall_s=9"], ["--resume", "40"]]
)
def test_resume_finds_the_newest_run_and_its_configuration(
    tmp_path: Path, trained: list[Any], words: list[str]
) -> None:
    old, new = a_run(tmp_path / "runs", "old", seed=1), a_run(tmp_path / "runs", "new", seed=2)
    os.utime(old / "config.resolved.yaml", (1, 1))
    assert new.is_dir()
    assert cli.main([*words, "--iterations", "50"]) == 7
    [(config, keywords)] = trained
    assert (config.run.name, config.run.seed, config.run.iterations) == ("new", 2, 50)
    assert keywords["resume"] == ("40" if words[-1] == "40" else "latest")
    assert config.run.stall_s == (9.0 if "run.stall_s=9" in words else 600.0)


def test_resume_of_a_named_run(tmp_path: Path, trained: list[Any]) -> None:
    a_run(tmp_path / "runs", "one", seed=1)
    a_run(tmp_path / "elsewhere", "two", seed=2)
    cli.main(["--resume", "one"])
    cli.main(["--resume", "elsewhere/two"])
    cli.main(["--resume", "--name", "one", "--config", tiny(tmp_path)])
    found = [(c.run.name, c.run.seed, c.paths.runs) for c, _ in trained]
    assert found == [("one", 1, "runs"), ("two", 2, str(tmp_path / "elsewhere")), ("one", 5, "runs")]


def test_a_resume_without_a_run_says_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--resume"]) == 2
    assert capsys.readouterr().err == "--resume: no run to go on with in runs/; there: none\n"
    a_run(tmp_path / "runs", "one")
    assert cli.main(["--resume", "two"]) == 2
    assert capsys.readouterr().err == "--resume: no run 'two' to go on with in runs/; there: one\n"


def test_dry_run_prints_a_configuration_that_loads_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trained: list[Any]
) -> None:
    preset = tiny(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["--config", preset, "--dry-run", "executor.use_mock=true", "--name", "n"]) == 0
    printed = capsys.readouterr()
    assert sorted(tmp_path.rglob("*")) == before
    assert trained == []
    dumped = tmp_path / "dumped.yaml"
    dumped.write_text(printed.out)
    config = load_config([dumped]).config
    assert (config.run.seed, config.run.name, config.executor.backend) == (5, "n", "mock")
    assert f"seed: 5  # {preset}:2" in printed.out
    assert "# run folder: runs/n\n" in printed.out
    assert "# executor: mock, " in printed.out
    assert "# device: CPU, " in printed.out
    assert printed.err == (
        "note: argument 'executor.use_mock=true': executor.use_mock is read as executor.backend: mock\n"
    )


def test_the_default_preset_without_a_gpu_says_what_runs_instead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trained: list[Any]
) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main([]) == 2
    text = capsys.readouterr().err
    assert "an NVIDIA GPU: Qwen/Qwen2.5-Coder-3B has about 3 billion parameters and takes about" in text
    assert "python main.py --config config/smoke.yaml" in text
    assert "python main.py --config config/cpu.yaml" in text
    assert "--config config/config.yaml" not in text
    assert text.count("\n") <= 24
    assert trained == []


def test_the_default_preset_with_a_gpu_trains(monkeypatch: pytest.MonkeyPatch, trained: list[Any]) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ((machine.Gpu("A40", 48 * machine.GIB),), ""))
    monkeypatch.setattr(version, "trouble", lambda: None)
    assert cli.main([]) == 7
    assert trained[0][0].model.name == "Qwen/Qwen2.5-Coder-3B"
    assert trained[0][0].engine.device == "cuda"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--iteration", "3"], "unknown option --iteration, did you mean --iterations?"),
        (["dcotor"], "'dcotor' is neither a verb nor key=value, did you mean doctor?"),
        (["--seed", "1", "doctor"], "the verb comes first: python main.py doctor ..."),
        (["my.yaml"], "want --config my.yaml"),
        (["--config"], "expected one argument"),
        (["eval"], "want one run or model"),
        (["eval", "a", "b"], "want one run or model, got 2"),
        (["report"], "want one run's folder"),
        (["doctor", "who"], "takes no arguments, got 'who'"),
    ],
)
def test_wrong_arguments_end_with_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "no.yaml", "a=1"], "no.yaml: no such file\nargument 'a=1': a: unknown key"),
        (["--seed", "x"], "--seed: run.seed: should be a valid integer, got 'x'"),
        (["--checkpoint", "gone"], "--checkpoint: no such folder: gone"),
        (["--checkpoint", ".", "--resume"], "--resume and --checkpoint: give one of the two"),
        (["report", "gone"], "no such run: gone"),
        (["warmstart", "--seed", "x"], "--seed: run.seed: should be a valid integer, got 'x'"),
        (["model.name=./gone"], "the model './gone': no such folder, and no hub id"),
        (["model.name=.", "executor.backend=process"], "a tokenizer in the model's folder ."),
        (["executor.backend=mock", "model.name=a/b-7B"], "a sandbox: the mock executor holds no attacker"),
        (["bench", "nothing-like-it"], "no benchmark"),
    ],
)
def test_what_a_user_can_mend_ends_with_2_and_no_traceback(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    text = capsys.readouterr().err
    assert message in text
    assert "Traceback" not in text


def test_an_interrupt_ends_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("azrl.selfplay.train")

    def train(config: Config, **keywords: Any) -> int:
        raise KeyboardInterrupt

    module.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azrl.selfplay.train", module)
    assert cli.main(["--config", tiny(tmp_path)]) == 130


def test_eval_of_a_run_uses_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, str]] = []
    module = types.ModuleType("azrl.evals")
    module.main = lambda config, what: calls.append((config.run.seed, what)) or 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azrl.evals", module)
    run = str(a_run(tmp_path, "r", seed=3))
    assert cli.main(["eval", run]) == 0
    assert cli.main(["eval", run, "--seed", "4"]) == 0
    assert cli.main(["eval", "tiny"]) == 0
    assert calls == [(3, run), (4, run), (42, "tiny")]


def test_eval_knows_a_run_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As report and export do; a run that is not there is not looked for on the hub."""
    calls: list[tuple[int, str]] = []
    module = types.ModuleType("azrl.evals")
    module.main = lambda config, what: calls.append((config.run.seed, what)) or 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azrl.evals", module)
    a_run(tmp_path / "runs", "r", seed=3)
    assert cli.main(["eval", "r"]) == 0
    assert calls == [(3, "runs/r")]
    assert cli.main(["eval", "runs/missing"]) == 2
    assert "no such run: runs/missing" in capsys.readouterr().err
    assert len(calls) == 1


@pytest.mark.parametrize("verb", [[], ["doctor"]])
def test_a_missing_package_is_told_without_a_traceback(tmp_path: Path, verb: list[str]) -> None:
    (tmp_path / "rich.py").write_text("raise ModuleNotFoundError(\"No module named 'rich'\", name='rich')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / "main.py"), *verb, "--config", str(ROOT / "config/smoke.yaml")]
    done = subprocess.run(
        command if not verb else command[:3], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "the package 'rich' is missing" in done.stderr
    assert ".venv/bin/python" in done.stderr


def test_warmstart_gets_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, list[str]]] = []
    module = types.ModuleType("azrl.models.warmstart")
    module.main = lambda config, argv: calls.append((config.run.seed, argv)) or 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azrl.models.warmstart", module)
    assert cli.main(["warmstart", "--seed", "4", "--", "--steps", "9", "x=1"]) == 0
    assert calls == [(4, ["--steps", "9", "x=1"])]


def test_report_takes_a_folder_or_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = types.ModuleType("azrl.runs.report")
    module.write_report = lambda folder: folder / "report.html"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azrl.runs.report", module)
    run = a_run(tmp_path / "runs", "r")
    assert cli.main(["report", str(run)]) == 0
    assert cli.main(["report", "r"]) == 0
    assert capsys.readouterr().out == f"{run}/report.html\nruns/r/report.html\n"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("tiny", 1.5e6),
        ("Qwen/Qwen2.5-Coder-3B", 3e9),
        ("Qwen/Qwen3-0.6B", 6e8),
        ("a/b-135M-Instruct", 1.35e8),
        ("mistralai/Mistral-v3", None),
    ],
)
def test_model_sizes_by_name(name: str, size: float | None) -> None:
    assert preflight.parameters(name) == size


def test_doctor_sees_the_machine_and_the_presets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from azrl import doctor

    def open_executor(backend: str, **keywords: Any) -> Any:
        raise UserError("not [/today]")

    monkeypatch.setattr(doctor, "open_executor", open_executor)
    monkeypatch.setattr(machine, "docker", lambda: "reachable")
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "160")
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    for wanted in ("processor", "reachable", "Landlock", "user namespaces", "PyYAML", "OMP_NUM_THREADS"):
        assert wanted in text
    assert "does not work: not [/today]" in text
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if "will" in line and "│" in line}
    assert "will not run" in rows["config/config.yaml"]
    assert "will run" in rows["config/smoke.yaml"]
    assert "will run" in rows["config/cpu.yaml"]


def test_a_missing_docker_daemon_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    assert machine.docker() == f"no daemon ({tmp_path}/no.sock is not there)"


def test_main_py_works_from_anywhere_and_starts_fast(tmp_path: Path) -> None:
    script = (
        "import runpy, sys, os; sys.argv = ['main.py', '--config', 'x.yaml'];"
        f"code = 0\ntry: runpy.run_path({str(ROOT / 'main.py')!r}, run_name='__main__')\n"
        "except SystemExit as e: code = e.code\n"
        "print(code, 'torch' in sys.modules, os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("2 False 1 PASSIVE\n", "x.yaml: no such file\n")
