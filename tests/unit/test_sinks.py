"""Sinks: TensorBoard for real, the two hosted ones against stand-ins that keep what they are given."""

import builtins
import sys
from types import SimpleNamespace

import pytest

from azrl.config import Config
from azrl.errors import UserError
from azrl.runs import open_sinks
from azrl.runs.folder import RunPaths
from azrl.runs.sinks import Sinks


def config(*names: str) -> Config:
    return Config.model_validate({"logging": {f"use_{name}": True for name in names}})


def folder(tmp_path) -> RunPaths:
    (tmp_path / "one").mkdir()
    return RunPaths(tmp_path / "one")


class Recorder:
    """Stands for the wandb and trackio modules and for the run that their `init` gives."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def call(*args, **options):
            self.calls.append((name, args, options))
            return self

        return call

    def named(self, name):
        return [(args, options) for called, args, options in self.calls if called == name]


def test_nothing_asked_for_is_nothing_opened(tmp_path):
    sinks = open_sinks(config(), folder(tmp_path))
    sinks.log(1, {"x": 1.0})
    sinks.close()
    assert list((tmp_path / "one").iterdir()) == []


def test_tensorboard_reads_back_what_was_logged_and_a_resume_hides_what_came_after(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = folder(tmp_path)
    sinks = open_sinks(config("tensorboard"), run)
    for step in (1, 2, 3):
        sinks.log(step, {"reward/solver/deduction": step / 4, "tokens": 10})
    sinks.close()
    resumed = open_sinks(config("tensorboard"), run, start_step=2)
    resumed.log(3, {"reward/solver/deduction": -1.0})
    resumed.close()

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    read = [(e.step, e.value) for e in events.Scalars("reward/solver/deduction")]
    assert read == [(1, 0.25), (2, 0.5), (3, -1.0)]


def test_wandb_goes_on_with_the_same_run_and_has_steps_as_its_axis(tmp_path, monkeypatch):
    wandb = Recorder()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    sinks = open_sinks(config("wandb"), folder(tmp_path), start_step=5)
    sinks.log(6, {"loss": 0.5})
    sinks.close()
    [(_, options)] = wandb.named("init")
    assert (options["id"], options["resume"], options["project"]) == ("one", "allow", "azrl")
    assert options["config"]["run"]["seed"] == 42
    assert wandb.named("log") == [(({"loss": 0.5, "step": 6},), {})]
    assert len(wandb.named("finish")) == 1


def test_trackio_gets_the_step_beside_the_metrics(tmp_path, monkeypatch):
    trackio = Recorder()
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    sinks = open_sinks(config("trackio"), folder(tmp_path))
    sinks.log(6, {"loss": 0.5})
    sinks.close()
    assert trackio.named("init")[0][1]["name"] == "one"
    assert trackio.named("log") == [(({"loss": 0.5},), {"step": 6})]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(UserError, match=f"pip install {name}.*logging.use_{name}=false"):
        open_sinks(config(name), folder(tmp_path))


def test_a_sink_that_cannot_start_is_told_at_once_and_the_others_are_closed(tmp_path, monkeypatch):
    wandb = Recorder()
    monkeypatch.setitem(sys.modules, "wandb", wandb)

    def refuse(**options):
        raise builtins.ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=refuse))
    with pytest.raises(UserError, match="use_trackio: it could not start: no network"):
        open_sinks(config("wandb", "trackio"), folder(tmp_path))
    assert len(wandb.named("finish")) == 1


def test_a_sink_that_fails_later_is_dropped_and_the_others_go_on(caplog):
    class Failing:
        calls = 0

        def log(self, step, metrics):
            self.calls += 1
            raise ConnectionError("network gone")

        def close(self):
            raise AssertionError("closed after it was dropped")

    failing, good = Failing(), Recorder()
    sinks = Sinks({"failing": failing, "good": good})
    sinks.log(1, {})
    sinks.log(2, {})
    sinks.close()
    assert failing.calls == 1
    assert len(good.named("log")) == 2
    assert "failing failed and is off from here: network gone" in caplog.text
