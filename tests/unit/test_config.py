"""Configuration: sources, precedence, old names, and every error with its place."""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as running
from hypothesis import strategies as st
from pydantic import BaseModel

import azrl
from azrl.config import Config, ConfigError, load_config, to_yaml
from azrl.config.aliases import ALIASES, FOLDERS
from azrl.config.executor import ExecutorSection, parse_memory

SEED = """\
model:
  name: Qwen/Qwen2.5-Coder-3B
  max_prompt_length: 6144
  max_response_length: 8096
training:
  rl_algorithm: "TRR++"
  optimizer: "AdamW"
  learning_rate: 1e-6
  batch_size: 33
  ppo_epochs: 2
  use_kl: true
  entropy_coeff: 0.001
  rollout_temp: 0.7
  rollout_top_p: 0.9
  k_references: 5
  n_samples: 9
  format_penalty:
    formatted_wrong: -0.25
    format_error: -2.0
  seed_batch_factor: 3
  max_buffer_size: 777
  checkpoint_interval: 11
executor:
  use_mock: true
  timeout: 15
  memory_limit: "1g"
  cpu_limit: 3.0
  forbidden_modules: [os, sys]
task_types: ["abduction", "induction"]
logging:
  level: "WARNING"
  use_wandb: true
  wandb_project: "mine"
  log_dir: "/workspace/logs"
paths:
  buffer_dir: /workspace/buffer
  checkpoint_dir: /workspace/checkpoints
  log_dir: /workspace/logs
"""


def write(folder: Path, text: str, name: str = "c.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str, *overrides: str, **environ: str) -> list[str]:
    """The problem lines, with the file's folder cut off."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config([path], overrides, environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.problems]


def test_sources_win_in_order(tmp_path: Path) -> None:
    base = write(tmp_path, "run: {iterations: 1, seed: 1}\ntraining:\n  learning_rate: 1e-6\n", "base.yaml")
    more = write(tmp_path, "run:\n  seed: 2\n  stall_s: 2\n  heartbeat_s: 2\n  name: two\n", "more.yaml")
    loaded = load_config(
        [base, more],
        ["run.heartbeat_s=4", "run.name=four"],
        {"AZRL__RUN__STALL_S": "3", "AZRL__RUN__HEARTBEAT_S": "3", "AZRL__RUN__NAME": "three", "OTHER": "x"},
        {"run.name": ("--name", "five")},
    )
    run = loaded.config.run
    assert (run.iterations, run.seed, run.stall_s, run.heartbeat_s, run.name) == (1, 2, 3.0, 4.0, "five")
    assert loaded.config.training.learning_rate == 1e-6
    assert loaded.where["run.iterations"] == f"{base}:1"
    assert loaded.where["run.seed"] == f"{more}:2"
    assert loaded.where["run.stall_s"] == "environment AZRL__RUN__STALL_S"
    assert loaded.where["run.heartbeat_s"] == "argument 'run.heartbeat_s=4'"
    assert loaded.where["run.name"] == "--name"
    assert "training.loss" not in loaded.where


def test_no_source_gives_the_defaults() -> None:
    assert load_config().config == Config()


def test_half_an_alarm_keeps_the_other_half(tmp_path: Path) -> None:
    path = write(tmp_path, "monitors:\n  unique_rate:\n    patience: 9\n")
    alarm = load_config([path]).config.monitors.unique_rate
    assert (alarm.patience, alarm.minimum, alarm.action) == (9, 0.6, "novelty")


def test_every_error_at_once_each_with_its_place(tmp_path: Path) -> None:
    lines = problems(
        tmp_path,
        "model:\n  nmae: tiny\ntraining:\n  loss: token_men\n  beta1: 1.5\n  use_kl: true\n"
        "foo: 1\nrun:\n  seed: soon\n  name: 12\ntasks:\n  kinds: [abduction, dedction]\nexecutor: process\n",
        "engine.temprature=1",
        "learning_rate=1",
        "lonely",
        AZRL__RUN__SEDE="3",
    )
    assert lines == [
        "c.yaml:2: model.nmae: unknown key, did you mean 'model.name'?",
        "c.yaml:4: training.loss: want one of token_mean, sequence_mean, got 'token_men', "
        "did you mean 'token_mean'?",
        "c.yaml:5: training.beta1: should be less than 1, got 1.5",
        "c.yaml:7: foo: unknown key; the top level has: " + ", ".join(Config.model_fields),
        "c.yaml:9: run.seed: should be a valid integer, got 'soon'",
        "c.yaml:10: run.name: should be text: put it in quotes, got 12",
        "c.yaml:12: tasks.kinds[1]: want one of abduction, deduction, induction, got 'dedction', "
        "did you mean 'deduction'?",
        "c.yaml:13: executor: is a section with keys of its own, got 'process'",
        "environment AZRL__RUN__SEDE: run.sede: unknown key, did you mean 'run.seed'?",
        "argument 'engine.temprature=1': engine.temprature: unknown key, did you mean 'engine.temperature'?",
        "argument 'learning_rate=1': learning_rate: unknown key, did you mean 'training.learning_rate'?",
        "argument 'lonely': want key=value, such as training.learning_rate=1e-5",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("run:\n  seed: 1\n  seed: 2\n", "c.yaml:3: seed: duplicate key, first given on line 2"),
        ("run:\n\tseed: 1\n", "c.yaml:2: unreadable YAML: a tab stands where YAML wants spaces"),
        (
            "run: [1\nmodel: 2\n",
            "c.yaml:2: unreadable YAML: expected ',' or ']', but got ':' (while parsing a flow sequence)",
        ),
        ("- run\n", "c.yaml:1: the top level is a list; want sections such as `training:`"),
        ("just text\n", "c.yaml:1: the top level is a single value; want sections such as `training:`"),
        (
            "run: {}\n---\nrun: {}\n",
            "c.yaml:2: unreadable YAML: a second document (`---`) starts here; want one",
        ),
        ("run: {}\nmodel: \x01\n", "c.yaml:2: unreadable YAML: the character U+0001 is not allowed"),
        ("run:\n  [a]: 1\n", "c.yaml:2: a key must be a plain word, got a list"),
        ("run:\n  seed.x: 1\n", "c.yaml:2: run.seed.x: unknown key"),
        ("run:\n  seed: true\n", "c.yaml:2: run.seed: should not be true or false, got true"),
        ("run:\n  stall_s: .inf\n", "c.yaml:2: run.stall_s: should be a finite number, got inf"),
        (
            "training:\n  learning_rate: .nan\n",
            "c.yaml:2: training.learning_rate: should be a finite number, got nan",
        ),
        (
            "model: {name: !!python/name:os.system x}\n",
            "c.yaml:1: unreadable YAML: could not determine a constructor",
        ),
        (
            "engine:\n  backend: vllm\n  temperature: 0.7\n",
            "c.yaml:3: engine.temperature: must be 1 with backend: vllm",
        ),
        (
            "executor:\n  memory_limit: lots\n",
            "c.yaml:2: executor.memory_limit: want a size of at least 1m, such as 256m, 1g or a number of "
            "bytes, got 'lots'",
        ),
    ],
)
def test_one_clear_line_for_each_kind_of_bad_file(tmp_path: Path, text: str, line: str) -> None:
    [only] = problems(tmp_path, text)
    assert only.startswith(line)


def test_files_that_cannot_be_read_are_named_together(tmp_path: Path) -> None:
    write(tmp_path, "run: {}\n", "there.yaml")
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"run: caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load_config([tmp_path / "no.yaml", tmp_path, latin])
    first, second, third = caught.value.problems
    assert first == f"{tmp_path}/no.yaml: no such file; there are {tmp_path}/there.yaml"
    assert second == f"{tmp_path}: cannot be read: Is a directory"
    assert third == f"{latin}: not UTF-8 text (byte 8)"


def test_deep_nesting_and_self_reference_are_refused(tmp_path: Path) -> None:
    assert "nested too deeply" in problems(tmp_path, "run: " + "[" * 5000)[0]
    assert problems(tmp_path, "run: &a\n  run: *a\n")[0].startswith("c.yaml:2: run.run: unknown key")


def test_two_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    text = "selfplay:\n  practise_first: true\n  solver_rollouts: fresh\n"
    [line] = problems(tmp_path, text)
    assert line == "c.yaml:2: selfplay.practise_first: needs solver_rollouts: reuse, got true"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2026-01-01", "2026-01-01"),
        ("'1'", "1"),
        ("1:30", "1:30"),
        ("010", "010"),
    ],
)
def test_words_that_older_yaml_turns_into_something_else_stay_text(value: str, name: str) -> None:
    assert load_config(overrides=[f"run.name={value}"]).config.run.name == name


@pytest.mark.parametrize("value", ["1e-6", "1.0e-06", ".000001", "1E-6", "0.000_001"])
def test_every_way_to_write_a_millionth_is_a_number(value: str) -> None:
    assert load_config(overrides=[f"training.learning_rate={value}"]).config.training.learning_rate == 1e-6


@pytest.mark.parametrize(
    ("value", "meaning"), [("yes", True), ("off", False), ("true", True), ("False", False)]
)
def test_switches_take_words(value: str, meaning: bool) -> None:
    assert load_config(overrides=[f"logging.use_wandb={value}"]).config.logging.use_wandb is meaning


def test_fixed_words_may_be_written_in_any_case() -> None:
    assert load_config(overrides=["training.rl_algorithm=grpo"]).config.training.rl_algorithm == "GRPO"


def test_empty_files_and_sections_and_merge_keys(tmp_path: Path) -> None:
    assert load_config([write(tmp_path, "")]).config == Config()
    assert load_config([write(tmp_path, "training:\n  # learning_rate: 1\n")]).config == Config()
    text = "monitors:\n  entropy: &e {patience: 3, minimum: 0.1}\n  length:\n    <<: *e\n    patience: 4\n"
    monitors = load_config([write(tmp_path, text)]).config.monitors
    assert (monitors.length.patience, monitors.length.minimum, monitors.entropy.patience) == (4, 0.1, 3)


def test_every_seed_key_has_its_effect(tmp_path: Path) -> None:
    path = write(tmp_path, SEED)
    loaded = load_config([path])
    c = loaded.config
    assert (c.model.name, c.model.max_prompt_length, c.model.max_response_length) == (
        "Qwen/Qwen2.5-Coder-3B", 6144, 8096,
    )  # fmt: skip
    assert (c.training.rl_algorithm, c.training.optimizer, c.training.learning_rate) == (
        "TRR++",
        "adamw",
        1e-6,
    )
    assert (c.training.ppo_epochs, c.training.use_kl, c.training.entropy_coeff) == (2, True, 0.001)
    assert c.training.kl_coeff > 0  # else use_kl would do nothing
    assert (c.selfplay.batch_size, c.selfplay.k_references, c.selfplay.n_samples) == (33, 5, 9)
    assert (c.selfplay.format_penalty.formatted_wrong, c.selfplay.format_penalty.format_error) == (
        -0.25,
        -2.0,
    )
    assert (c.selfplay.seed_batch_factor, c.buffer.max_buffer_size, c.run.checkpoint_interval) == (3, 777, 11)
    assert (c.engine.temperature, c.engine.top_p) == (0.7, 0.9)
    assert (c.executor.backend, c.executor.timeout, c.executor.memory_mb) == ("mock", 15.0, 1024)
    assert (c.executor.workers, c.tasks.forbidden_modules) == (3, ("os", "sys"))
    assert c.tasks.kinds == ("abduction", "induction")
    assert (c.logging.level, c.logging.use_wandb, c.logging.wandb_project) == ("WARNING", True, "mine")
    assert c.paths.runs == "/workspace"
    assert f"note: {path}:24: executor.use_mock is read as executor.backend: mock" in loaded.notes
    assert (
        f"note: {path}:37: paths.checkpoint_dir is read as paths.runs: /workspace "
        "(a run keeps it in /workspace/<name>/checkpoints/)"
    ) in loaded.notes
    assert len(loaded.notes) == len(ALIASES) + len(FOLDERS)


def test_old_names_work_as_overrides_and_in_the_environment() -> None:
    loaded = load_config((), ["executor.use_mock=false"], {"AZRL__TRAINING__BATCH_SIZE": "7"})
    assert (loaded.config.executor.backend, loaded.config.selfplay.batch_size) == ("auto", 7)
    assert loaded.notes == (
        "note: environment AZRL__TRAINING__BATCH_SIZE: training.batch_size is read as selfplay.batch_size: 7",
        "note: argument 'executor.use_mock=false': executor.use_mock is read as executor.backend: auto",
    )


def test_task_types_may_be_switches() -> None:
    kinds = load_config((), ["task_types={abduction: true, deduction: false}"]).config.tasks.kinds
    assert kinds == ("abduction",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("executor: {use_mock: maybe}", "c.yaml:1: executor.use_mock: want true or false, got 'maybe'"),
        ("executor: {cpu_limit: 0}", "c.yaml:1: executor.cpu_limit: want a number of cores above 0, got 0"),
        (
            "paths: {log_dir: /a/logs, buffer_dir: /b/buf}",
            "c.yaml:1: paths.log_dir: '/a/logs', '/b/buf' have no",
        ),
        ("paths: {log_dir: 3}", "c.yaml:1: paths.log_dir: want the path of a folder, got 3"),
        (
            "executor:\n  use_mock: true\n  backend: process",
            "c.yaml:3: executor.backend: set to 'process' here and to 'mock' at",
        ),
        ("training: {batch_size: 0}", "c.yaml:1: selfplay.batch_size: should be greater than 0, got 0"),
    ],
)
def test_old_names_with_bad_values(tmp_path: Path, text: str, line: str) -> None:
    found = problems(tmp_path, text)
    assert any(problem.startswith(line) for problem in found), found


@pytest.mark.parametrize(
    ("text", "size"),
    [("256m", 2**28), ("1g", 2**30), ("1.5 GiB", 3 * 2**29), ("1048576", 2**20), (2**21, 2**21)],
)
def test_memory_sizes(text: str | int, size: int) -> None:
    assert parse_memory(text) == size


def test_memory_in_mib() -> None:
    assert ExecutorSection(memory_limit="1g").memory_mb == 1024


NAMES = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["no", "1e5", "null", "~", "010", "2026-01-01", "#", ""]
)


@running(deadline=None)  # a loaded machine proves nothing
@given(NAMES, st.floats(1e-12, 1e3), st.booleans())
def test_what_is_dumped_loads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, name: str, rate: float, on: bool
) -> None:
    config = Config.model_validate(
        {"run": {"name": name}, "training": {"learning_rate": rate}, "logging": {"use_wandb": on}}
    )
    path = write(tmp_path_factory.mktemp("dump"), to_yaml(config, {"run.name": "c.yaml:1"}))
    assert load_config([path]).config == config


@given(st.text(max_size=60))
def test_no_text_crashes_the_loader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ConfigError):
        load_config([path])
    with pytest.raises(ConfigError) as caught:
        load_config([path], [text.replace("=", "")])
    assert all("\n" not in line for line in caught.value.problems)


def settings(model: type[BaseModel], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += settings(kind, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


def test_every_setting_is_read_by_the_program() -> None:
    """A setting that nothing reads would be a lie. Reading means an attribute of that name outside the
    config package, or a word for the alarms, which are looked up by name."""
    words: set[str] = set()
    package = Path(azrl.__file__).parent
    for file in package.rglob("*.py"):
        if file.parent.name == "config":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                words.add(node.attr)
            elif (
                isinstance(node, ast.Constant) and isinstance(node.value, str) and file.name == "monitors.py"
            ):
                words.add(node.value)
    texts = [file.read_text("utf-8") for file in (package / "config").glob("*.py")]
    for text in (text for text in texts if "(Section):" in text):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name in words:  # a property that the program reads
                words |= {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
    unread = [name for name in settings(Config) if not set(name.split(".")[1:]) <= words]
    assert unread == []


@pytest.mark.parametrize(
    "preset", sorted(Path(__file__).parents[2].glob("config/*.yaml")), ids=lambda p: p.stem
)
def test_presets_load_without_old_names_and_explain_every_key(preset: Path) -> None:
    assert load_config([preset]).notes == ()
    first, *lines = preset.read_text().splitlines()
    assert first.startswith("# ")
    for line in lines:
        assert not line.strip() or line.endswith(":") or "#" in line or not line.startswith(" "), line
