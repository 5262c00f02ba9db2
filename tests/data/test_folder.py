import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from convwright.data import Dataset, memory, open_dataset, read_image
from convwright.data.streaming import StreamedImages
from convwright.errors import ConvwrightWarning, DataError

Paint = Callable[..., Path]


def values(split: object) -> list[int]:
    """One pixel of each image: the tests paint each in a colour of its own."""
    return split.images[:, 0, 0, 0].tolist()  # type: ignore[attr-defined]


def train(folder: Path, **options: object) -> Dataset:
    options.setdefault("max_bad", 1)
    return open_dataset(str(folder), **options)  # type: ignore[arg-type]


def test_a_folder_per_class(cats_and_dogs: Path) -> None:
    data = train(cats_and_dogs, val_share=0.2)
    assert data.name == str(cats_and_dogs)
    assert data.classes == ("cats", "dogs")
    assert (data.channels, data.resolution, data.test, data.skipped) == (1, 12, None, ())
    assert data.default_flip
    assert torch.bincount(data.train.labels).tolist() == [8, 8]
    assert torch.bincount(data.val.labels).tolist() == [2, 2]
    assert sorted(values(data.train) + values(data.val)) == [*range(10, 20), *range(200, 210)]
    for split in (data.train, data.val):
        assert [value >= 200 for value in values(split)] == [bool(label) for label in split.labels]


def test_opening_again_gives_the_same_and_a_changed_image_another_fingerprint(
    cats_and_dogs: Path, paint: Paint
) -> None:
    first, again = train(cats_and_dogs), train(cats_and_dogs)
    assert first.fingerprint == again.fingerprint
    assert torch.equal(first.train.images, again.train.images)
    paint("cats/3.png", 99)
    assert train(cats_and_dogs).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "valid", "Testing"), ("train", "validation", "test")]
)
def test_splits_that_the_folder_makes(names: tuple[str, str, str], paint: Paint, tmp_path: Path) -> None:
    for i, name in enumerate(names):
        paint(f"{name}/a/1.png", 10 + i)
        paint(f"{name}/b/1.png", 20 + i)
    data = train(tmp_path / "images")
    assert data.classes == ("a", "b")
    assert data.test is not None
    assert [values(data.train), values(data.val), values(data.test)] == [[10, 20], [11, 21], [12, 22]]


def test_train_and_test_without_val(paint: Paint, tmp_path: Path) -> None:
    for i in range(4):
        paint(f"train/a/{i}.png", i)
        paint(f"train/b/{i}.png", 10 + i)
    paint("test/b/x.png", 99)
    data = train(tmp_path / "images", val_share=0.25)
    assert data.test is not None
    assert values(data.test) == [99]
    assert data.test.labels.tolist() == [1]
    assert (len(data.train), len(data.val)) == (6, 2)


def test_test_images_without_classes_are_named_and_left_out(paint: Paint, tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png", "test/1.png"):
        paint(name)
    data = train(tmp_path / "images")
    assert data.test is None
    assert data.skipped == ("test: it has no class sub-folders",)


def test_a_class_may_be_called_train(paint: Paint, tmp_path: Path) -> None:
    for name in ("bus", "car", "train"):
        paint(f"{name}/1.png")
        paint(f"{name}/2.png")
    assert train(tmp_path / "images").classes == ("bus", "car", "train")


def test_nested_and_linked_files_count_once_and_loops_end(cats_and_dogs: Path, paint: Paint) -> None:
    paint("cats/deep/deeper/nested.png", 50)
    outside = paint("../elsewhere/linked.png", 60)
    (cats_and_dogs / "dogs" / "folder").symlink_to(outside.parent)
    (cats_and_dogs / "dogs" / "same folder").symlink_to(outside.parent)
    (cats_and_dogs / "dogs" / "file.png").symlink_to(cats_and_dogs / "dogs" / "1.png")
    (cats_and_dogs / "cats" / "deep" / "loop").symlink_to(cats_and_dogs / "cats")
    data = train(cats_and_dogs)
    seen = values(data.train) + values(data.val)
    assert len(seen) == 23
    assert [seen.count(value) for value in (50, 60, 201)] == [1, 1, 2]


def test_a_class_may_itself_be_a_link(cats_and_dogs: Path, paint: Paint) -> None:
    paint("../birds/1.png")
    birds = paint("../birds/2.png")
    (cats_and_dogs / "birds").symlink_to(birds.parent)
    assert train(cats_and_dogs).classes == ("birds", "cats", "dogs")


def test_what_is_no_image_is_passed_over_in_silence(cats_and_dogs: Path) -> None:
    for name in ("notes.txt", ".DS_Store", "Thumbs.db", ".hidden.png", "._0.png", "no-suffix"):
        (cats_and_dogs / "cats" / name).write_text("no image")
        (cats_and_dogs / name).write_text("no image")
    for name in (".git", ".ipynb_checkpoints", "__MACOSX"):
        (cats_and_dogs / name).mkdir()
        (cats_and_dogs / "cats" / name).mkdir()
        (cats_and_dogs / "cats" / name / "1.png").write_text("no image")
    data = train(cats_and_dogs)
    assert data.classes == ("cats", "dogs")
    assert data.skipped == ()
    assert len(data.train) + len(data.val) == 20


def test_unreadable_images_are_skipped_each_with_a_line(cats_and_dogs: Path, noise: Callable[..., Image.Image]) -> None:
    cats = cats_and_dogs / "cats"
    noise(64, 64).save(cats / "half.jpg")
    (cats / "half.jpg").write_bytes((cats / "half.jpg").read_bytes()[:2000])
    (cats / "empty.png").touch()
    (cats / "text.JPG").write_text("no image")
    (cats / "gone.png").symlink_to(cats / "nowhere.png")
    os.mkfifo(cats / "pipe.png")
    Image.new("1", (12_000, 12_000)).save(cats / "bomb.png")
    (cats / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic")
    data = train(cats_and_dogs)
    assert len(data.train) + len(data.val) == 20
    lines = dict(line.split(": ", 1) for line in data.skipped)
    assert lines.pop("cats/half.jpg").startswith("image file is truncated")
    assert lines == {
        "cats/bomb.png": "more than 89 million pixels",
        "cats/empty.png": "the file is empty",
        "cats/gone.png": "a broken link",
        "cats/photo.heic": "not an image of a known format",
        "cats/pipe.png": "not a regular file",
        "cats/text.JPG": "not an image of a known format",
    }


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_folders_without_permission_are_skipped(cats_and_dogs: Path, paint: Paint) -> None:
    closed = paint("cats/closed/1.png").parent
    closed.chmod(0)
    try:
        assert train(cats_and_dogs).skipped == ("cats/closed: no permission to read it",)
    finally:
        closed.chmod(0o700)


@pytest.mark.parametrize("name", [b"caf\xe9", "кот".encode(), "猫".encode(), b"two\nlines", b"a b'c\"d"])
def test_any_file_name(name: bytes, tmp_path: Path) -> None:
    root = tmp_path / "images"
    for folder in (name, b"zebra"):
        (root / os.fsdecode(folder)).mkdir(parents=True)
        for i in range(2):
            Image.new("L", (8, 8), i).save(root / os.fsdecode(folder) / os.fsdecode(name + b"%d.png" % i))
    (root / "zebra" / os.fsdecode(name + b".png")).touch()
    data = train(root)
    assert len(data.train) == 2
    assert len(data.skipped) == 1
    for text in (*data.classes, *data.skipped):
        assert text.encode()  # printable anywhere
        assert "\n" not in text


def test_one_colour_image_makes_all_colour(cats_and_dogs: Path, paint: Paint) -> None:
    assert train(cats_and_dogs).channels == 1
    paint("dogs/red.png", (255, 0, 0), "RGB")
    data = train(cats_and_dogs)
    assert data.channels == len(data.mean) == len(data.std) == 3
    images = torch.cat([data.train.images, data.val.images])
    assert sum(image[:, 0, 0].tolist() == [255, 0, 0] for image in images) == 1
    assert sum(len(set(image[:, 0, 0].tolist())) == 1 for image in images) == 20


def test_the_resolution_is_the_median_short_side_up_to_224(paint: Paint, tmp_path: Path) -> None:
    for i, side in enumerate((20, 30, 40)):
        paint(f"a/{i}.png", size=(side, 99))
        paint(f"b/{i}.png", size=(99, side))
    assert train(tmp_path / "images").resolution == 30
    assert train(tmp_path / "images", resolution=17).resolution == 17
    for i in range(9):
        paint(f"a/large{i}.png", size=(300, 400))
    assert train(tmp_path / "images").resolution == 224


def test_images_are_those_that_predict_reads(tmp_path: Path, noise: Callable[..., Image.Image]) -> None:
    for i, name in enumerate(("a", "b")):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "val" / name).mkdir(parents=True)
        noise(37, 53, i).save(tmp_path / "train" / name / "1.jpg")
        noise(37, 53, i).save(tmp_path / "val" / name / "1.png")
    data = train(tmp_path, resolution=24)
    assert torch.equal(data.train.images[1], read_image(tmp_path / "train/b/1.jpg", 24, 3))
    assert torch.equal(data.val.images[0], read_image(tmp_path / "val/a/1.png", 24, 3))


def test_progress_is_told(cats_and_dogs: Path) -> None:
    reported: list[tuple[int, int, str]] = []
    train(cats_and_dogs, progress=lambda *step: reported.append(step))
    assert (20, 20, "reading headers") in reported
    assert reported[-1] == (20, 20, "decoding images")


def empty(root: Path, paint: Paint) -> None:
    root.mkdir()


def no_classes(root: Path, paint: Paint) -> None:
    paint("1.png")


def one_class(root: Path, paint: Paint) -> None:
    paint("cats/1.png")


def wrapped(root: Path, paint: Paint) -> None:
    paint("archive/cats/1.png")
    paint("archive/dogs/1.png")


def one_image(root: Path, paint: Paint) -> None:
    for name in ("cats/1.png", "cats/2.png", "dogs/1.png"):
        paint(name)


def one_readable(root: Path, paint: Paint) -> None:
    one_image(root, paint)
    (root / "dogs" / "2.png").touch()


def damaged_later(root: Path, paint: Paint) -> None:
    one_image(root, paint)
    Image.effect_noise((64, 64), 50).save(root / "dogs" / "2.png")
    (root / "dogs" / "2.png").write_bytes((root / "dogs" / "2.png").read_bytes()[:500])


def all_unreadable(root: Path, paint: Paint) -> None:
    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)
        (root / name / "1.png").touch()


def no_images(root: Path, paint: Paint) -> None:
    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)


def unknown_in_val(root: Path, paint: Paint) -> None:
    for name in ("train/cats/1.png", "train/dogs/1.png", "val/cats/1.png", "val/wolves/1.png"):
        paint(name)


def unknown_in_test(root: Path, paint: Paint) -> None:
    for name in ("train/cats/1.png", "train/dogs/1.png", "test/wolves/1.png"):
        paint(name)


def empty_val(root: Path, paint: Paint) -> None:
    for name in ("train/cats/1.png", "train/dogs/1.png", "val/1.png"):
        paint(name)


def no_train(root: Path, paint: Paint) -> None:
    for name in ("val/cats/1.png", "test/cats/1.png"):
        paint(name)


def train_without_classes(root: Path, paint: Paint) -> None:
    for name in ("train/1.png", "test/1.png"):
        paint(name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty, "images has no sub-folders: the layout must be FOLDER/CLASS/image.jpg, or "),
        (no_classes, "images has no sub-folders: the layout must be "),
        (one_class, "images has one class only, cats: the layout must be "),
        (wrapped, "; did you mean {root}/archive?"),
        (one_image, "class dogs in {root} has 1 readable training image and needs at least 2, one of them"),
        (one_readable, "class dogs in {root} has 1 readable training image"),
        (damaged_later, "class dogs in {root} has 1 readable training image"),
        (all_unreadable, "no readable train images (the first of 2 skipped: cats/1.png: the file is empty)"),
        (no_images, "images has no images: the folders are empty; the layout must be "),
        (unknown_in_val, "val has classes that the training data lacks: wolves"),
        (unknown_in_test, "test has classes that the training data lacks: wolves"),
        (empty_val, "images has no readable val images"),
        (no_train, "images has test and val but no train: the layout must be "),
        (train_without_classes, "train has no sub-folders: the layout must be "),
    ],
)
def test_folders_that_cannot_be_learnt_from(
    make: Callable[[Path, Paint], None], message: str, paint: Paint, tmp_path: Path
) -> None:
    root = tmp_path / "images"
    make(root, paint)
    with pytest.raises(DataError) as caught:
        train(root)
    assert message.format(root=root) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_what_memory_cannot_hold_is_decoded_when_it_is_used(
    cats_and_dogs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = train(cats_and_dogs, resolution=224, cache_gb=0)
    monkeypatch.setattr(memory, "available_memory", lambda: 20 * 16**2 * 5)
    with pytest.warns(ConvwrightWarning, match="20 decoded images take .*decoded in worker processes .*`cache_gb=1`"):
        streamed = train(cats_and_dogs, resolution=224, cache_gb=0)
    assert isinstance(streamed.train.store, StreamedImages)
    assert torch.equal(streamed.train.take(torch.arange(5)), held.train.images[:5])
    assert isinstance(train(cats_and_dogs, resolution=16, cache_gb=0).train.store, torch.Tensor)


def test_classes_whose_names_are_written_alike_are_refused(paint: Paint, tmp_path: Path) -> None:
    """Undecodable bytes and line breaks of folder names are written as escapes, which another folder can be called."""
    for name in ("new\nline", "new\\nline"):
        paint(f"{name}/1.png")
        paint(f"{name}/2.png")
    with pytest.raises(DataError, match="two classes are both written"):
        train(tmp_path / "images")
