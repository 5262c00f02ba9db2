"""Folders of images: what systems put there is left out, and nothing else is ignored silently."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from convwright.data.layout import Found, find_images
from convwright.data.skipped import SYSTEM
from convwright.errors import DataError

FOLDERS = {
    "Synology": ("@eaDir", "@eadir", "#recycle", "#snapshot", "@tmp"),
    "QNAP and NetApp": ("@Recycle", "@Recently-Snapshot", ".@__thumb", "~snapshot"),
    "macOS": ("__MACOSX", ".Spotlight-V100", ".Trashes", ".fseventsd", ".AppleDouble", "Network Trash Folder"),
    "Windows": ("$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information", "RECYCLER", "found.000"),
    "Linux": ("lost+found", ".Trash-1000", ".thumbnails", ".cache", ".recycle"),
    "programs": (".ipynb_checkpoints", "__pycache__", ".git", ".picasaoriginals"),
}
FILES = (
    "._0.png",
    "SYNOPHOTO_THUMB_XL.jpg",
    "SYNOINDEX_MEDIA_INFO",
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    ".DS_Store",
)
NAMES = ("train", "Training", "val", "test", "test-old", "train2", "a", "b", "lost+found", "")
"""Names of folders, of which the empty one is the folder above."""


def write(root: Path, names: Iterator[str] | list[str]) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"pixels")


@contextmanager
def folder_of(names: list[str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        write(Path(place), names)
        yield Path(place)


def used(found: Found) -> list[str]:
    return sorted(name for split in found.splits.values() for name in split.names)


CLASSES = [f"{name}/{number}.png" for name in "ab" for number in range(2)]


@pytest.mark.parametrize("layout", ["", "train/"])
@pytest.mark.parametrize("name", list(itertools.chain(*FOLDERS.values())))
def test_folders_that_systems_make_are_no_classes(name: str, layout: str, tmp_path: Path) -> None:
    write(tmp_path, [f"{layout}{image}" for image in CLASSES])
    before = used(find_images(tmp_path))
    places = ["", layout, f"{layout}a/", f"{layout}a/deep/"]
    write(tmp_path, [f"{place}{name}/0.png/SYNOPHOTO_THUMB_M.jpg" for place in dict.fromkeys(places)])
    found = find_images(tmp_path)
    assert found.classes == ["a", "b"]
    assert used(found) == before
    assert sum(one.files for one in found.files.counts() if one.reason == SYSTEM) == len(set(places))


@pytest.mark.parametrize("name", FILES)
def test_files_that_systems_make_are_no_images(name: str, tmp_path: Path) -> None:
    write(tmp_path, [*CLASSES, f"a/{name}", name])
    found = find_images(tmp_path)
    assert used(found) == sorted(CLASSES)
    assert sum(one.files for one in found.files.counts()) == 2


@example([f"{name}/0.png" for name in ("bus", "car", "train/day", "train/night")])
@example([f"{name}/0.png" for name in ("train/a", "train/b", "test-old/a", "extra/a")])
@example([f"{name}/0.png" for name in ("train/a", "train/b", "training/a", "training/b")])
@example(["train/a/0.png", "train/b/0.png", "test/0.png", "train/1.png", "2.png"])
@given(
    st.lists(
        st.tuples(*[st.sampled_from(NAMES)] * 3, st.sampled_from(("0.png", "1.jpg", "notes.txt"))).map(
            lambda parts: "/".join(filter(None, parts))
        ),
        min_size=1,
        max_size=12,
        unique=True,
    )
)
def test_every_file_is_used_or_counted_or_the_folder_is_refused(names: list[str]) -> None:
    with folder_of(names) as root:
        for training in (True, False):
            try:
                found = find_images(root, training=training)
            except DataError as error:
                assert "\n" not in str(error)  # noqa: PT017 - some folders are refused, others are not
                continue
            counted = sum(one.files for one in found.files.counts())
            assert len(used(found)) + counted == len(names), (used(found), found.files.counts())


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("bus", "car", "train/day", "train/night"), "ambiguous whether train is a split or a class"),
        (("train/a", "train/b", "training/a", "training/b"), "train and training are all train by name"),
        (("train/a", "train/b", "train2/a", "train2/b"), "train and train2 are all train by name"),
        (("train/a", "train/b", "test/a", "test-old/a"), "test and test-old are all test by name"),
        (("a/train", "a/test", "b/train", "b/test"), "has the folders test and train, which would all be one class"),
    ],
)
def test_what_is_ambiguous_is_refused(folders: tuple[str, ...], message: str, tmp_path: Path) -> None:
    write(tmp_path, [f"{folder}/{number}.png" for folder in folders for number in range(2)])
    with pytest.raises(DataError, match=message):
        find_images(tmp_path)


def test_folders_beside_splits_are_named_as_not_used(tmp_path: Path) -> None:
    write(tmp_path, [f"{folder}/0.png" for folder in ("train/a", "train/b", "test/a", "raw", "extra/deep")])
    found = find_images(tmp_path)
    assert [line.partition(":")[0] for line in found.skipped] == ["extra", "raw"]
    assert all("not used, since it is no split" in line for line in found.skipped)
