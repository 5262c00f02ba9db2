"""Exact duplicates among the training images that validation images are held out of."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import convwright as cw
from convwright.data.dataset import Dataset
from convwright.data.folds import count_duplicates, joined_groups
from convwright.errors import ConvwrightWarning
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

PICTURES, COPIES = 40, 3


def arrays(pictures: int = PICTURES, copies: int = COPIES) -> tuple[np.ndarray, np.ndarray]:
    """Return noise in two classes, each picture several times, in a random order."""
    generator = np.random.default_rng(0)
    images = generator.integers(256, size=(pictures, 8, 8, 3), dtype=np.uint8)
    order = generator.permutation(np.repeat(np.arange(pictures), copies))
    return images[order], order % 2


def sides(data: Dataset) -> Iterator[set[bytes]]:
    """Yield the digests of the training images, then those of the validation images."""
    for split in (data.train, data.val):
        yield {digest.tobytes() for digest in split.traits().digests.numpy()}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_copies_are_on_one_side_and_the_share_holds(seed: int) -> None:
    images, labels = arrays()
    data = cw.open_data(images=images, labels=labels, val_share=0.2, seed=seed).dataset()
    train, val = sides(data)
    assert not train & val
    assert len(train | val) == PICTURES
    assert data.duplicates == PICTURES * (COPIES - 1)
    assert len(data.val) == pytest.approx(0.2 * len(images), abs=2 * COPIES)
    assert set(data.train.labels.tolist()) == set(data.val.labels.tolist()) == {0, 1}
    again = cw.open_data(images=images, labels=labels, val_share=0.2, seed=seed).dataset()
    assert again.fingerprint == data.fingerprint


def test_the_split_of_different_images_does_not_depend_on_the_option() -> None:
    images, labels = arrays(60, 1)
    opened = [
        cw.open_data(images=images, labels=labels, duplicates=duplicates).dataset()
        for duplicates in ("together", "apart")
    ]
    assert opened[0].fingerprint == opened[1].fingerprint
    assert opened[0].duplicates == 0


def test_copies_and_groups_stay_together(tmp_path: Path) -> None:
    pixels, _ = arrays(30, 1)
    rows = ["path,label,group"]
    for number, image in enumerate(np.concatenate([pixels, pixels])):
        file = tmp_path / f"{number}.png"
        cw_image(image, file)
        rows.append(f"{file.name},{number % 2},{number // 3 if number < 30 else ''}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    data = cw.open_data(tmp_path / "list.csv", val_share=0.3).dataset()
    train, val = sides(data)
    assert not train & val
    assert data.train.groups is not None
    assert data.val.groups is not None
    assert not (set(data.train.groups) - {""}) & set(data.val.groups)


def cw_image(image: np.ndarray, file: Path) -> None:
    """Write an image."""
    from PIL import Image

    Image.fromarray(image).save(file)


def test_equal_digests_are_found_by_all_their_bytes() -> None:
    digests = np.zeros((6, 16), np.uint8)
    digests[1, 0] = digests[2, 15] = digests[3, 15] = digests[4, 7] = 1
    assert count_duplicates(digests) == 2
    groups = joined_groups(digests, None)
    assert groups is not None
    assert sorted(Counter(filter(None, groups)).values()) == [2, 2]
    assert groups[0] == groups[5]
    assert groups[2] == groups[3]
    assert count_duplicates(np.zeros((0, 16), np.uint8)) == 0


def test_copies_are_apart_only_where_nothing_else_can_be_held_out() -> None:
    images = np.zeros((6, 8, 8, 3), np.uint8)
    images[3:] = 200
    with pytest.warns(ConvwrightWarning, match="exact duplicates are both in the training and in the validation"):
        data = cw.open_data(images=images, labels=["dark"] * 3 + ["bright"] * 3).dataset()
    assert (len(data.train), len(data.val)) == (4, 2)
    assert data.duplicates == 0
    images[0] = 90  # now there is an image of a class that is left to train on
    data = cw.open_data(images=images, labels=["dark"] * 3 + ["bright"] * 3).dataset()
    train, val = sides(data)
    assert not train & val
    assert len(data.val) >= 1


class _Stop:
    """Ends training by an error at the first validation."""

    def on_validation(self, row: object) -> None:
        raise OSError("stopped")


def test_a_run_of_the_first_version_is_resumed_with_its_split(tmp_path: Path) -> None:
    images, labels = arrays()
    data = cw.open_data(images=images, labels=labels, val_share=0.2, resolution=8, duplicates="apart")
    options = {"network": "cifar_resnet8", "epochs": 3, "progress": False, "out": tmp_path / "run"}
    with pytest.raises(OSError, match="stopped"):
        cw.train(data, callbacks=[_Stop()], **options)
    _as_first_version(tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert run.config.duplicates == "apart"
    plain = cw.open_data(images=images, labels=labels)  # the run has its own options
    assert open_run_data(run, plain).fingerprint == data.dataset(8).fingerprint == run.data.fingerprint
    assert plain.dataset(8).fingerprint != run.data.fingerprint
    repeated = cw.TrainRequest.from_yaml(run.path / "config.yaml", data=data, out=tmp_path / "again")
    assert cw.prepare(repeated, progress=False).data.fingerprint == run.data.fingerprint
    assert cw.resume(tmp_path / "run", progress=False).summary.steps > 0


def _as_first_version(run: Path) -> None:
    """Write configuration and checkpoints as version 1 did, without the field `duplicates`."""
    file = run / "config.yaml"
    file.write_text(yaml.safe_dump(_first_version(yaml.safe_load(file.read_text())), sort_keys=False))
    for checkpoint in (run / "checkpoints").glob("*.pt"):
        state = torch.load(checkpoint, weights_only=True)
        torch.save(state | {"config": _first_version(state["config"])}, checkpoint)
    (run / "checksums.json").unlink()


def _first_version(config: dict[str, Any]) -> dict[str, Any]:
    assert (config.pop("schema_version"), config.pop("duplicates")) == (2, "apart")
    return config | {"schema_version": 1}


def test_train_says_how_many_images_were_kept_together(capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = arrays()
    options = {"network": "cifar_resnet8", "epochs": 0.1, "resolution": 8}
    plan = cw.prepare(cw.open_data(images=images, labels=labels), **options)
    line = "80 exact duplicates kept on the side of the original, to train on or to validate on"
    assert line in plan.notes
    assert line in capsys.readouterr().err
    apart = cw.prepare(cw.open_data(images=images, labels=labels), duplicates="apart", progress=False, **options)
    assert not any("duplicate" in note for note in apart.notes)
    train, val = sides(apart.data)
    assert train & val
