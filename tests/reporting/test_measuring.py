"""What is measured of a run: on which images, and how runs are called."""

import warnings
from pathlib import Path

import pytest
import torch

from convwright.data import open_dataset
from convwright.errors import ConvwrightWarning
from convwright.evaluation.record import images_key
from convwright.reporting import Entry, measuring
from convwright.reporting.entry import peers
from convwright.reporting.titles import titles
from convwright.timing import Timing
from convwright.training.run import Run


def test_answers_are_those_of_the_test_split(measured: list[Entry]) -> None:
    digits = open_dataset("digits")
    assert digits.test is not None
    for entry in measured:
        predictions = entry.predictions
        assert predictions is not None
        assert (entry.split, entry.images) == ("test", 359)
        assert predictions.labels.tolist() == digits.test.labels.tolist()
        assert entry.accuracy == pytest.approx(float(predictions.correct.double().mean()))
        likeliest = predictions.predictor.probabilities(predictions.take(range(20))).max(1)
        assert likeliest.indices.tolist() == predictions.predicted[:20].tolist()
        assert torch.allclose(likeliest.values.double(), predictions.confidence[:20], atol=1e-5)


def test_the_surest_mistake_comes_first(measured: list[Entry]) -> None:
    for entry in measured:
        assert entry.predictions is not None
        rows = entry.predictions.mistakes
        assert len(rows) == entry.images - int(entry.predictions.correct.sum())
        sure = entry.predictions.confidence[rows].tolist()
        assert sure == sorted(sure, reverse=True)
        assert not entry.predictions.correct[rows].any()


def test_latency_is_measured_and_tells_its_threads(measured: list[Entry]) -> None:
    assert all(entry.latency and entry.latency.seconds > 0 and entry.latency.threads == 1 for entry in measured)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_only_reliable_latencies_are_cached(
    runs: dict[str, Run], busy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convwright.scaling.latency.cache_folder", lambda: tmp_path)
    times = iter((0.9, 0.006, 0.007))

    def measure(_: object) -> Timing:
        return Timing((next(times),), "threads waited for a core" if busy else "")

    monkeypatch.setattr("convwright.scaling.latency.measure_call", measure)
    run = runs["SE-ResNet"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvwrightWarning)
        (first,), notes = measuring.measure_runs([run])
        (second,), _ = measuring.measure_runs([run])
        (third,), _ = measuring.measure_runs([run], remeasure=True)
    found = [entry.latency.seconds for entry in (first, second, third) if entry.latency]
    assert found == ([0.9, 0.006, 0.007] if busy else [0.9, 0.9, 0.006])
    assert any("the machine was busy (threads waited for a core)" in note for note in notes) is busy


def test_the_same_images_are_known_at_any_resolution() -> None:
    small, large = open_dataset("digits"), open_dataset("digits", resolution=16)
    assert small.test is not None
    assert large.test is not None
    keys = [images_key(data, [data.test]) for data in (small, large) if data.test is not None]
    assert keys[0] == keys[1]
    validation = [images_key(data, [data.val]) for data in (small, large)]
    assert validation[0] == validation[1] != keys[0]
    other = open_dataset("digits", seed=1)
    assert images_key(other, [other.val]) != validation[0]


def test_without_a_test_split_the_validation_images_are_taken(runs: dict[str, Run]) -> None:
    digits = open_dataset("digits")
    parts = [measuring.measured_splits(data, other) for data, other in ((digits, False), (digits, True))]
    assert [name for name, _ in parts] == ["test", "test"]
    bare = type(digits)(**(vars(digits) | {"test": None}))
    assert measuring.measured_splits(bare, False) == ("val", (digits.val,))
    assert measuring.measured_splits(bare, True) == ("all", (digits.val, digits.train))


def test_positions_reach_over_several_splits(measured: list[Entry]) -> None:
    predictions = measured[0].predictions
    assert predictions is not None
    digits = predictions.data
    both = measuring.predict_splits(predictions.predictor, digits, (digits.val, digits.train))
    last = len(digits.val)
    assert torch.equal(both.take([last])[0], digits.train.take(torch.tensor([0]))[0])
    assert int(both.labels[last]) == int(digits.train.labels[0])


def test_networks_measured_on_the_same_images_belong_together(measured: list[Entry], unfinished: Entry) -> None:
    groups = list(peers([measured[0], unfinished, measured[1]]))
    assert [[index for index, _ in group] for group in groups] == [[0, 2]]


def test_runs_are_called_by_as_much_of_their_path_as_tells_them_apart() -> None:
    paths = [Path("/a/x/run"), Path("/a/y/run"), Path("/b/other")]
    assert titles(paths) == ["x/run", "y/run", "other"]
    assert titles([Path("runs/fashion")]) == ["fashion"]
    assert titles([Path("/p/a/b"), Path("/q/a/b")]) == ["p/a/b", "q/a/b"]
