"""Splits of folders and lists: stratified, with groups and images of the same content on one side."""

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw
from convwright.data import open_dataset
from convwright.data.likeness import MOST_COMPARED, PASSES, Clusters, thumbnail_of
from convwright.errors import ArgumentError, DataError


def picture(seed: int, side: int = 48) -> Image.Image:
    """Return a picture of smooth random shapes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of 30 images each, of ten patients."""
    for number in range(60):
        folder = tmp_path / "photos" / ("ill", "well")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / f"p{number // 6}_{number}.png")
    return tmp_path / "photos"


def test_it_is_stratified_and_seeded(photos: Path) -> None:
    first = cw.split(photos, seed=1)
    assert first.counts == {"train": [24, 24], "val": [3, 3], "test": [3, 3]}
    assert first == cw.split(photos, seed=1)
    assert first.images != cw.split(photos, seed=2).images
    assert cw.split(photos, "0.5,0.5").counts == {"train": [15, 15], "test": [15, 15]}
    assert cw.split(photos, (0.7, 0, 0.3)).splits == ("train", "test")


def test_the_list_is_data(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    found = cw.split(photos, out=folder / "split.csv", seed=3)
    data = open_dataset(str(folder / "split.csv"))
    assert [len(part) for part in (data.train, data.val, data.test)] == [48, 6, 6]  # type: ignore[arg-type]
    expected = {str(image.path.relative_to(photos)): (image.labels[0], image.split) for image in found.images}
    for name, part in (("train", data.train), ("val", data.val), ("test", data.test)):
        for path, label in zip(part.names, part.labels.tolist(), strict=True):
            assert expected.pop("/".join(Path(path).parts[-2:])) == (data.classes[label], name)
    assert not expected
    survey = cw.survey(folder / "split.csv")
    assert survey.counts == found.counts
    assert not [problem for problem in survey.problems if problem.kind == "leakage"]


@pytest.mark.parametrize("way", ["column", "usual column", "pattern", "part of the pattern"])
def test_groups_stay_together(way: str, photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.png"))
    title = "group" if way == "usual column" else "patient"
    rows = [f"{file.relative_to(tmp_path)},{file.parent.name},{file.name.partition('_')[0]}" for file in files]
    (tmp_path / "list.csv").write_text("\n".join([f"path,label,{title}", *rows]))
    options = {
        "column": {"data": tmp_path / "list.csv", "group": "patient"},
        "usual column": {"data": tmp_path / "list.csv"},
        "pattern": {"data": photos, "pattern": r"p\d_"},
        "part of the pattern": {"data": photos, "pattern": r"/(p\d)_\d"},
    }[way]
    for seed in range(4):
        found = cw.split(shares=(0.6, 0.2, 0.2), seed=seed, **options)  # type: ignore[arg-type]
        splits = {(image.path.name.partition("_")[0], image.split) for image in found.images}
        assert len(splits) == 10
        assert Counter(split for _, split in splits) == {"train": 6, "val": 2, "test": 2}


def test_images_of_the_same_content_stay_together(photos: Path) -> None:
    """Copies, other formats, stronger compression and smaller sizes of an image are where the image is."""
    for number in range(0, 60, 5):
        image, folder = picture(number, 96), photos / ("ill", "well")[number % 2]
        image.resize((72, 72), Image.Resampling.LANCZOS).save(folder / f"smaller_{number}.png")
        image.save(folder / f"same_{number}.bmp")
        image.save(folder / f"strong_{number}.jpg", quality=70)
    for seed in range(3):
        found = cw.split(photos, (0.5, 0.25, 0.25), seed=seed)
        splits: dict[str, set[str]] = {}
        for image in found.images:
            splits.setdefault(image.path.stem.partition("_")[2], set()).add(image.split)
        assert all(len(each) == 1 for each in splits.values())
        assert found.duplicates == 36


def test_unlike_images_are_alone() -> None:
    images = [np.asarray(picture(seed)).transpose(2, 0, 1) for seed in range(200)]
    plain = [np.full((3, 9, 9), value, np.uint8) for value in range(200)]
    clusters = Clusters(400)
    clusters.join_alike(np.stack([thumbnail_of(pixels) for pixels in [*images, *plain]]))
    assert set(clusters.sizes()) == {1}


def test_no_images_are_alone() -> None:
    clusters = Clusters(0)
    clusters.join_alike(np.zeros((0, 8, 8, 3), np.uint8))
    assert list(clusters.sizes()) == []


def noise_images(count: int, side: int) -> np.ndarray:
    """Return grey images of independent values."""
    return np.random.default_rng(count).integers(0, 256, (count, side, side), dtype=np.uint8)


def small_pictures(count: int, side: int) -> np.ndarray:
    """Return grey images of smooth shapes."""
    return np.stack([np.asarray(picture(seed, side).convert("L")) for seed in range(count)])


@pytest.mark.parametrize("make", [noise_images, small_pictures])
@pytest.mark.parametrize("count", [500, 6000])
def test_noisy_copies_are_found_among_any_number_of_images(make: Callable[[int, int], np.ndarray], count: int) -> None:
    generator = np.random.default_rng(1)
    images = make(count, 28)
    copied = generator.choice(count, 150, replace=False)
    copies = np.clip(images[copied].astype(int) + generator.integers(-3, 4, (150, 28, 28)), 0, 255).astype(np.uint8)
    clusters = Clusters(count + 150)
    clusters.join_alike(
        np.stack([thumbnail_of(np.repeat(image[None], 3, 0)) for image in np.concatenate([images, copies])])
    )
    found = [clusters.first_of(count + number) == clusters.first_of(one) for number, one in enumerate(copied.tolist())]
    assert np.mean(found) >= 0.98
    assert max(clusters.sizes()) <= 3
    assert clusters.compared <= MOST_COMPARED * PASSES * (count + 150)


def test_several_labels_and_weights(photos: Path, tmp_path: Path) -> None:
    rows = [["path", "labels", "weight"]]
    for number, file in enumerate(sorted(photos.rglob("*.png"))):
        labels = "|".join(name for name, every in (("two", 2), ("three", 3), ("five", 5)) if number % every == 0)
        rows.append([str(file.relative_to(tmp_path)), labels, str(number % 4)])
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    (tmp_path / "list.csv").write_text(text.getvalue())
    found = cw.split(tmp_path / "list.csv", (0.5, 0.5), out=tmp_path / "new.csv")
    assert found.counts["train"] == pytest.approx([6, 10, 15], abs=1)  # five, three, two
    data, before = open_dataset(str(tmp_path / "new.csv")), open_dataset(str(tmp_path / "list.csv"))
    assert data.multi_label
    assert data.classes == before.classes
    assert data.train.weights is not None
    assert data.test is not None
    assert data.test.weights is not None


def test_what_cannot_be_split(photos: Path, tmp_path: Path) -> None:
    (photos / "ill/broken.png").write_bytes(b"no image")
    (photos / "ill/notes.txt").write_text("x")
    found = cw.split(photos)
    assert len(found.images) == 60
    assert found.unreadable == ("ill/broken.png: not an image of a known format",)
    assert {(each.suffix, each.files) for each in found.skipped} == {(".txt", 1), (".png", 1)}
    cw.split(photos, out=tmp_path / "split.csv")
    with pytest.raises(ArgumentError, match=r"data: .*split.csv is split into train and val and test already"):
        cw.split(tmp_path / "split.csv")
    with pytest.raises(ArgumentError, match=r"group: .*photos is a folder, which has no columns; use `pattern`"):
        cw.split(photos, group="patient")
    with pytest.raises(ArgumentError, match=r"out: .*split.csv is the data"):
        cw.split(tmp_path / "split.csv", out=tmp_path / "split.csv")
    with pytest.raises((ArgumentError, DataError), match="the split val would have no images"):
        cw.split(photos, pattern=r"\.png")


@pytest.mark.parametrize("shares", ["", "0.8", "0.8,0.3", "a,b", (1.0,), (0.5, 0.6), (0, 1), (1.2, -0.2), 3, None])
def test_wrong_shares(shares: object, photos: Path) -> None:
    with pytest.raises(ArgumentError, match="shares: must be the shares of train, val and test"):
        cw.split(photos, shares)  # type: ignore[arg-type]


def test_a_built_in_data_set_is_split_anew(tmp_path: Path) -> None:
    own = cw.open_data("digits")
    assert own.test is not None
    total = len(own.train) + len(own.val) + len(own.test)
    found = cw.split("digits", (0.7, 0.1, 0.2), seed=4, out=tmp_path / "split.csv")
    data = open_dataset(str(tmp_path / "split.csv"))
    sizes = [len(part) for part in (data.train, data.val, data.test) if part is not None]
    assert sum(sizes) == len(found.images) == total
    assert [size / total for size in sizes] == pytest.approx([0.7, 0.1, 0.2], abs=0.01)
    assert data.classes == own.classes
    fifth = next(image for image in found.images if image.path.as_posix() == "digits:test/5")
    assert fifth.labels == (own.classes[int(own.test.labels[5])],)


def test_a_list_of_images_of_a_built_in_data_set_is_split(tmp_path: Path) -> None:
    rows = [f"digits:train/{number},{'even' if number % 2 else 'odd'},p{number // 4}" for number in range(80)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,patient", *rows]))
    found = cw.split(tmp_path / "list.csv", (0.5, 0.5), group="patient", out=tmp_path / "split.csv")
    assert found.counts == {"train": [20, 20], "test": [20, 20]}
    assert len({(image.group, image.split) for image in found.images}) == 20
    assert {*open_dataset(str(tmp_path / "split.csv")).classes} == {"even", "odd"}


def test_what_a_list_cannot_name_is_refused_in_one_line(tmp_path: Path) -> None:
    images, labels = noise_images(20, 16), ["a", "b"] * 10
    with pytest.raises(ArgumentError, match="data: images that are given in Python cannot be named in a list"):
        cw.split(cw.open_data(images=images, labels=labels))
    with pytest.raises(ArgumentError, match=r"data: .*a list names files, and not images inside tar files"):
        cw.split(str(tmp_path / "{000..001}.tar"))
    with pytest.raises(ArgumentError, match="group: digits is a built-in data set, which has no columns"):
        cw.split("digits", group="patient")
