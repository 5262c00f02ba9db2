"""TensorBoard and MLflow get what the CSV file has, also after a run has been interrupted."""

import warnings

import pytest

import convwright as cw
from convwright.data import open_dataset
from convwright.training.callbacks import MLflow, TensorBoard
from convwright.training.interrupt import Interrupted
from convwright.training.loop import resume, train
from convwright.training.plan import plan
from convwright.training.run import Run

from .test_loop import StopAfter


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


def interrupted_run(digits, path, tracker, stopped=lambda: None):
    """Stop a run half-way and resume it; `tracker` makes a callback for each part, `stopped` is called between."""
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=1.5)
    with pytest.raises(Interrupted):
        train(config, network, digits, path, [tracker(), StopAfter(32)])
    stopped()
    resume(Run.open(path), digits, [tracker()])
    return Run.open(path)


def test_tensorboard(digits, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = interrupted_run(digits, tmp_path / "run", TensorBoard)
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("step/loss")] == list(range(1, 61))
    told = [(scalar.step, scalar.value) for scalar in events.Scalars("validation/val_accuracy")]
    assert told == [(row["step"], pytest.approx(row["val_accuracy"])) for row in run.metrics]


def test_mlflow(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri)

    def record():
        (found,) = client.search_runs([client.get_experiment_by_name("convwright").experiment_id])
        return found

    statuses = []
    tell = lambda: statuses.append(record().info.status)  # noqa: E731
    run = interrupted_run(digits, tmp_path / "run", lambda: MLflow(uri), tell)
    logged = record()
    assert statuses == ["KILLED"]
    assert logged.info.status == "FINISHED"
    assert logged.data.params["recipe.optimizer"] == "sgd"
    history = client.get_metric_history(logged.info.run_id, "val_loss")
    told = sorted((metric.step, metric.value) for metric in history)
    assert told == [(row["step"], pytest.approx(row["val_loss"])) for row in run.metrics]


def test_a_store_that_is_out_of_reach_is_told_once_and_the_run_goes_on(digits, tmp_path):
    pytest.importorskip("mlflow")
    config, network = plan(digits, cw.network("cifar_resnet8"), epochs=0.5)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        train(config, network, digits, tmp_path / "run", [MLflow("nowhere://no-such-store")])
    ours = [str(warning.message) for warning in told if "MLflow at nowhere" in str(warning.message)]
    assert len(ours) == 1
    assert Run.open(tmp_path / "run").finished
