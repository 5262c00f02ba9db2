"""Cross-validation: folds, results, and runs that were stopped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import TensorDataset

import convwright as cw
from convwright.data import open_dataset
from convwright.data.folds import joined_groups
from convwright.data.opened import Data
from convwright.errors import ArgumentError, DataError
from convwright.files import temporary_beside
from convwright.stats.means import mean_of_folds

QUICK = {"network": "cifar_resnet8|scale:w=0.25", "epochs": 0.2, "batch_size": 32, "progress": False}


class StopAfter:
    """Ends training by an error at a validation."""

    def __init__(self, validations: int) -> None:
        self.left = validations

    def on_validation(self, row: object) -> None:
        self.left -= 1
        if not self.left:
            raise OSError("stopped")


@pytest.mark.parametrize("folds", [2, 5])
def test_each_image_is_validated_once(folds: int) -> None:
    parts = [open_dataset("digits", folds=folds, fold=fold) for fold in range(1, folds + 1)]
    whole = open_dataset("digits")
    sizes = [len(data.val) for data in parts]
    assert sum(sizes) == len(whole.train) + len(whole.val)
    assert max(sizes) - min(sizes) <= 10
    digests = torch.cat([data.val.traits().digests for data in parts])
    own = torch.cat([whole.train.traits().digests, whole.val.traits().digests])
    assert sorted(map(tuple, digests.tolist())) == sorted(map(tuple, own.tolist()))
    for data in parts:
        assert data.held_out
        assert len(data.train) + len(data.val) == sum(sizes)
        counts = torch.bincount(data.val.labels)
        assert int(counts.max() - counts.min()) <= 12  # the classes have 138 to 146 images
        assert data.test is not None
        assert whole.test is not None
        assert torch.equal(data.test.labels, whole.test.labels)


def test_stopped_runs_are_resumed_and_finished_ones_kept(tmp_path: Path) -> None:
    options = {"folds": 3, "seed": 2, **QUICK}
    whole = cw.cross_validate("digits", out=tmp_path / "whole", **options)
    with pytest.raises(Exception, match="stopped"):
        cw.cross_validate("digits", out=tmp_path / "out", callbacks=[StopAfter(2)], **options)
    first = tmp_path / "out/fold-1"
    before = {file.name: file.stat().st_mtime_ns for file in first.iterdir()}
    assert not (tmp_path / "out/fold-3").exists()
    found = cw.cross_validate("digits", out=tmp_path / "out", **options)
    assert {file.name: file.stat().st_mtime_ns for file in first.iterdir()} == before
    assert found.scores == whole.scores
    for one, other in zip(found.runs, whole.runs, strict=True):
        assert one.weights.read_bytes() == other.weights.read_bytes()
    assert [run.config.fold for run in found.runs] == [1, 2, 3]
    assert cw.evaluate(found.runs[1], split="val").measures.images == found.runs[1].data.images["val"]


def test_mean_and_interval(tmp_path: Path) -> None:
    found = cw.cross_validate("digits", out=tmp_path / "out", folds=2, **QUICK)
    shares = [run.data.images["val"] / run.data.images["train"] for run in found.runs]
    expected = mean_of_folds(found.scores, sum(shares) / 2)
    assert found.mean == expected
    assert found.scores == tuple(run.metrics[-1]["val_accuracy"] for run in found.runs)
    members = found.to_dict()
    assert members["mean"] == expected.value
    assert [row["run"] for row in members["folds"]] == [str(tmp_path / f"out/fold-{fold}") for fold in (1, 2)]
    assert f"mean accuracy {expected.value:.2%}" in str(found)
    with pytest.raises(ArgumentError, match=r"out: .* has runs of other options"):
        cw.cross_validate("digits", out=tmp_path / "out", folds=2, seed=9, **QUICK)
    one = cw.train("digits", folds=2, fold=2, out=tmp_path / "one", **QUICK)
    assert one.weights.read_bytes() == found.runs[1].weights.read_bytes()


def test_without_a_folder_the_same_request_resumes_and_another_is_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {**QUICK, "folds": 2}
    with pytest.raises(Exception, match="stopped"):
        cw.cross_validate("digits", callbacks=[StopAfter(2)], **options)
    found = cw.cross_validate("digits", workers=1, **options)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [found.path.name]
    assert found.path.name.endswith("-digits-folds")
    other = cw.cross_validate("digits", seed=1, **options)
    assert other.path.name == f"{found.path.name}-2"
    assert cw.cross_validate("digits", seed=1, **options).path == other.path


def test_minutes_are_those_of_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    available: list[float] = []

    def few_epochs(minutes: float, *arguments: object, **options: object) -> float:
        available.append(minutes)
        return 0.2

    monkeypatch.setattr("convwright.training.prepare.epochs_in_minutes", few_epochs)
    options = {name: value for name, value in QUICK.items() if name != "epochs"}
    found = cw.cross_validate("digits", folds=2, minutes=6, out=tmp_path / "out", **options)
    assert available == [3]  # measured once, for all
    assert [run.config.epochs for run in found.runs] == [0.2, 0.2]


def test_groups_are_in_one_fold(tmp_path: Path) -> None:
    rows = [f"digits:train/{number},{number % 2},g{number % 7}" for number in range(140)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,group", *rows]))
    seen: list[set[str]] = []
    for fold in range(1, 4):
        data = open_dataset(str(tmp_path / "list.csv"), folds=3, fold=fold)
        assert not set(data.train.groups or ()) & set(data.val.groups or ())
        seen.append(set(data.val.groups or ()))
    assert sum(map(len, seen)) == 7
    with pytest.raises(ArgumentError, match=r"folds: must be at most the number of groups of images \(7\), not 9"):
        open_dataset(str(tmp_path / "list.csv"), folds=9, fold=9)


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["", "a", "b", "c", "d"])), max_size=40), st.booleans())
def test_equal_images_share_a_group(images: list[tuple[int, str]], grouped: bool) -> None:
    """Images are in one group exactly if a chain of equal pixels and equal groups leads from one to the other."""
    digests = np.array([[number] * 16 for number, _ in images], np.uint8).reshape(-1, 16)
    groups = [group if grouped else "" for _, group in images]
    found = joined_groups(digests, groups if grouped else None)
    reached = [{row} for row in range(len(images))]
    for _ in images:
        for row, seen in enumerate(reached):
            for other, (number, _) in enumerate(images):
                if any(number == images[each][0] or groups[other] == groups[each] != "" for each in seen):
                    reached[row].add(other)
    for row, seen in enumerate(reached):
        own = "" if found is None else found[row]
        alike = {other for other in range(len(images)) if own and found is not None and found[other] == own} | {row}
        assert alike == seen


def test_copies_are_in_one_fold_and_larger_images_follow(tmp_path: Path) -> None:
    for number in range(60):
        # Of the four images of each brightness, two differ by one pixel from the others, which is lost at 12 pixels.
        image = np.full((24, 24), 16 * (number % 15), np.uint8)
        image[12, 12] += number % 2
        path = tmp_path / f"photos/{'ab'[number % 15 % 2]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    for fold in (1, 2, 3):
        source = replace(cw.open_data(tmp_path / "photos"), folds=3, fold=fold)
        data = source.dataset(12)
        one, other = (set(map(tuple, part.traits().digests.tolist())) for part in (data.train, data.val))
        assert len(one | other) == 15
        assert not one & other
        larger = source.with_larger(data, 0.25).train.larger
        assert larger is not None
        assert larger.size == (24, 24)
        assert larger.names == data.train.names


def test_validation_images_of_the_data_are_part_of_the_folds(tmp_path: Path) -> None:
    rows = [f"digits:train/{number},{number % 2},{'val' if number < 30 else 'train'}" for number in range(90)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    names: list[str] = []
    for fold in range(1, 4):
        data = open_dataset(str(tmp_path / "list.csv"), folds=3, fold=fold)
        assert (len(data.train), len(data.val)) == (60, 30)
        names += data.val.names or ()
    assert sorted(names) == sorted(row.partition(",")[0] for row in rows)


def test_wrong_use(tmp_path: Path) -> None:
    for options, message in (
        ({"folds": 1}, "folds: must be a whole number, 2 to 1000, not 1"),
        ({"folds": 3, "fold": 4}, "fold: must be 1 to `folds`, which is 3"),
        ({"fold": 1}, "fold: needs `folds`"),
        ({"folds": 3}, "folds: needs `fold`"),
    ):
        with pytest.raises(ArgumentError, match=message):
            cw.train("digits", **options)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="patience: would choose the end of training"):
        cw.cross_validate("digits", folds=2, patience=3)
    with pytest.raises(ArgumentError, match="folds: missing"):
        cw.cross_validate("digits")
    with pytest.raises(ArgumentError, match="fold: trains one fold only"):
        cw.cross_validate("digits", folds=2, fold=1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/file").touch()
    with pytest.raises(ArgumentError, match=r"out: .* exists and is no cross-validation"):
        cw.cross_validate("digits", folds=2, out=tmp_path / "out")


def test_a_folder_with_only_temporary_files_counts_as_empty(tmp_path: Path) -> None:
    temporary_beside(tmp_path / "request.yaml").touch()
    made = cw.cross_validate("digits", folds=2, network="cifar_resnet8", epochs=0.1, out=tmp_path, progress=False)
    assert len(made.runs) == 2


def test_a_class_that_is_in_one_fold_only(tmp_path: Path) -> None:
    rows = [f"digits:train/{number},{'a' if number < 2 else 'b'},g{number // 2}" for number in range(12)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,group", *rows]))
    messages = []
    for fold in (1, 2):
        try:
            open_dataset(str(tmp_path / "list.csv"), folds=2, fold=fold)
        except DataError as error:
            messages.append(str(error))
    assert len(messages) == 1
    assert "leaves no images of a to train on, which has 2 images in too few groups" in messages[0]


def test_folds_that_few_groups_leave_empty_are_refused_as_such(tmp_path: Path) -> None:
    groups = ["large"] * 96 + ["one", "two", "three"] * 2
    rows = [f"digits:train/{number},{group},{group}" for number, group in enumerate(groups)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,group", *rows]))
    with pytest.raises(ArgumentError, match="folds: fold 4 of 4 would have no images, as groups"):
        open_dataset(str(tmp_path / "list.csv"), folds=4, fold=4)


def _arrays(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return 60 images in two classes that differ in brightness."""
    labels = np.arange(60) % 2
    noise = np.random.default_rng(seed).integers(0, 128, (60, 8, 8))
    return (noise + 100 * labels[:, None, None]).astype(np.uint8), labels


def _data(kind: str) -> Data:
    images, labels = _arrays()
    if kind == "arrays":
        return cw.open_data(images=images, labels=labels)
    pixels = torch.from_numpy(images).float()[:, None] / 255
    return cw.open_data(TensorDataset(pixels, torch.from_numpy(labels)), classes=["dark", "bright"])


@pytest.mark.parametrize("kind", ["arrays", "data set of torch"])
def test_images_that_are_given_in_python(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"network": "cifar_resnet8|scale:w=0.25", "epochs": 0.5, "folds": 3, "progress": False}
    found = cw.cross_validate(_data(kind), **options)
    assert [run.data.images for run in found.runs] == [{"train": 40, "val": 20}] * 3
    assert len({run.data.fingerprint for run in found.runs}) == 3
    assert found.path.is_dir()
    # The same images, given again, are known by their content; the runs are finished.
    again = cw.cross_validate(_data(kind), **options)
    assert (again.path, again.scores) == (found.path, found.scores)
    images, labels = _arrays(1)
    other = cw.cross_validate(cw.open_data(images=images, labels=labels), **options)
    assert other.path != found.path
