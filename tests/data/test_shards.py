"""Tar files in WebDataset's convention: which files, which images, which labels, and what is wrong with them."""

import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.data import open_dataset, shard_index
from convwright.data.shard_paths import expanded
from convwright.data.streaming import StreamedImages
from convwright.errors import ArgumentError, ConvwrightWarning, DataError

Members = Mapping[str, bytes]


def encoded(colour: int, size: tuple[int, int] = (12, 12)) -> bytes:
    content = io.BytesIO()
    Image.new("L", size, colour).save(content, "png")
    return content.getvalue()


def write_tar(path: Path, members: Members) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def samples(start: int, count: int = 6, label: Callable[[int], Members] | None = None) -> dict[str, bytes]:
    """Images of one value each, in two classes by turns."""
    found: dict[str, bytes] = {}
    for number in range(start, start + count):
        found[f"{number:06d}.png"] = encoded(number)
        extra = {"cls": str(number % 2).encode()} if label is None else label(number)
        found |= {f"{number:06d}.{extension}": content for extension, content in extra.items()}
    return found


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for number in range(3):
        write_tar(tmp_path / f"shards/{number:03d}.tar", samples(10 * number))
    return tmp_path / "shards"


def values(split: object) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{0..2}.tar", ["0.tar", "1.tar", "2.tar"]),
        ("{08..10}.tar", ["08.tar", "09.tar", "10.tar"]),
        ("{2..0}.tar", ["2.tar", "1.tar", "0.tar"]),
        ("{a,b}/{0..1}.tar", ["a/0.tar", "a/1.tar", "b/0.tar", "b/1.tar"]),
        ("{train-{0..1},val-0}.tar", ["train-0.tar", "train-1.tar", "val-0.tar"]),
    ],
)
def test_braces_are_those_of_a_shell(pattern: str, names: list[str]) -> None:
    assert list(expanded(pattern)) == names


def test_a_brace_without_a_partner() -> None:
    with pytest.raises(DataError, match=r"a brace is not closed; write \{000..146\}"):
        list(expanded("shards/{000..146.tar"))


@pytest.mark.parametrize("name", ["{}", "{}/{{000..002}}.tar", "{}/*.tar", "{0}/000.tar::{0}/{{001..002}}.tar"])
def test_images_and_labels_of_tar_files(name: str, shards: Path) -> None:
    data = open_dataset(name.format(shards), resolution=12)
    assert data.classes == ("0", "1")
    every = sorted([*values(data.train), *values(data.val)])
    assert every == [*range(6), *range(10, 16), *range(20, 26)]
    for split in (data.train, data.val):
        assert [value % 2 for value in values(split)] == split.labels.tolist()
    assert data.train.names is not None
    assert all(name.partition("/")[0] in ("000.tar", "001.tar", "002.tar") for name in data.train.names)


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        (lambda n: {"cls": b"%d" % (n % 3 + 9)}, ("9", "10", "11")),
        (lambda n: {"txt": b"cat\n" if n % 2 else "\ufeffHündin".encode()}, ("Hündin", "cat")),
        (lambda n: {"json": json.dumps({"label": n % 2, "width": 12}).encode(), "txt": b"a caption"}, ("0", "1")),
        (lambda n: {"json": json.dumps({"width": 12}).encode(), "cls": b"%d" % (n % 2)}, ("0", "1")),
        (lambda n: {"cls.txt": b"ab"[n % 2 : n % 2 + 1]}, ("a", "b")),
    ],
)
def test_forms_of_labels(label: Callable[[int], Members], classes: tuple[str, ...], tmp_path: Path) -> None:
    write_tar(tmp_path / "all.tar", samples(0, 12, label))
    data = open_dataset(str(tmp_path / "all.tar"), resolution=12)
    assert data.classes == classes


def test_several_labels_of_an_image(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "all.tar", samples(0, 12, lambda n: {"json": json.dumps({"labels": ["ab"[n % 2], "c"]}).encode()})
    )
    data = open_dataset(str(tmp_path / "all.tar"), resolution=12)
    assert data.multi_label
    assert data.classes == ("a", "b", "c")
    assert data.train.labels[:, 2].all()


@pytest.mark.parametrize("named", [None, "nothing"])
def test_the_members_of_json_are_named_where_none_is_a_label(named: str | None, tmp_path: Path) -> None:
    content = samples(0, 6, lambda n: {"json": json.dumps({"kind": n % 2, "width": 12}).encode()})
    path = write_tar(tmp_path / "all.tar", content)
    expected = r"such as all\.tar/000000\.png; its \.json has kind and width; name the one .* with `label_column`"
    with pytest.raises(DataError, match=expected):
        cw.open_data(path, label_column=named).dataset()
    assert cw.open_data(path, label_column="kind").classes == ("0", "1")


def test_a_member_of_json_is_named_where_several_may_be_meant(tmp_path: Path) -> None:
    content = samples(0, 12, lambda n: {"json": json.dumps({"label": 0, "class": n % 2, "kind": n % 3}).encode()})
    path = str(write_tar(tmp_path / "all.tar", content))
    with pytest.raises(DataError, match=r"000000\.json may have its label in label or class; .*`label_column`"):
        open_dataset(path)
    assert cw.open_data(path, label_column="kind").dataset(12).classes == ("0", "1", "2")
    with pytest.raises(ArgumentError, match="column belongs to lists"):
        open_dataset(path, columns={"group_column": "kind"})


def test_splits_by_names_of_files_or_folders(tmp_path: Path) -> None:
    for role, start in (("train", 0), ("val", 20), ("test", 40)):
        write_tar(tmp_path / f"a/{role}-0.tar", samples(start))
        write_tar(tmp_path / f"b/{role}/0.tar", samples(start))
    for folder in ("a", "b"):
        data = open_dataset(str(tmp_path / folder), resolution=12)
        assert data.test is not None
        assert [values(split)[0] for split in (data.train, data.val, data.test)] == [0, 20, 40]
    write_tar(tmp_path / "a/more.tar", samples(60))
    with pytest.raises(
        DataError, match=r"files of the splits test, train and val, and files whose names show no split: more\.tar"
    ):
        open_dataset(str(tmp_path / "a"))


def test_folders_inside_of_tar_files_are_classes_where_there_are_no_labels(tmp_path: Path) -> None:
    members = {f"{'cats' if n % 2 else 'dogs'}/{n}.png": encoded(n) for n in range(10)}
    data = open_dataset(str(write_tar(tmp_path / "all.tar", members)), resolution=12)
    assert data.classes == ("cats", "dogs")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2300])


def without_end(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content.rstrip(b"\0")) + 511 & ~511])


def compressed(path: Path) -> None:
    with tarfile.open(path, "w:gz"):
        pass


def unlabelled(path: Path) -> None:
    members = samples(10)
    del members["000012.cls"]
    write_tar(path, members)


def captions(path: Path) -> None:
    for number in range(3):
        write_tar(path.with_name(f"{number:03d}.tar"), samples(10 * number, 6, lambda n: {"txt": b"number %d" % n}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, r"001\.tar does not exist"),
        (truncated, r"001\.tar(: not a complete tar file| is truncated)"),
        (without_end, r"001\.tar is truncated: it has no end mark"),
        (compressed, r"001\.tar is compressed \(gzip\); .* decompress it"),
        (unlabelled, r"1 of 18 images have no label, such as 001\.tar/000012\.png; a label is a member"),
        (captions, "every image has a label of its own"),
        (lambda path: path.write_bytes(b"text" * 1000), r"001\.tar: not a complete tar file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(damage: Callable[[Path], object], message: str, shards: Path) -> None:
    damage(shards / "001.tar")
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(shards / "{000..002}.tar"))
    assert "\n" not in str(caught.value)


def test_an_index_is_kept_until_its_file_changes(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = shard_index.read_index
    monkeypatch.setattr(
        shard_index, "read_index", lambda path, *given: read.append(path.name) or original(path, *given)
    )
    first = open_dataset(str(shards), resolution=12)
    assert read == ["000.tar", "001.tar", "002.tar"]
    again = open_dataset(str(shards), resolution=12)
    assert (len(read), first.fingerprint) == (3, again.fingerprint)
    write_tar(shards / "001.tar", samples(100))
    changed = open_dataset(str(shards), resolution=12)
    assert read[3:] == ["001.tar"]
    assert 100 in [*values(changed.train), *values(changed.val)]
    before = (shards / "001.tar").stat()
    write_tar(shards / "001.tar", samples(200))
    os.utime(shards / "001.tar", ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = open_dataset(str(shards), resolution=12)
    assert 200 in [*values(changed.train), *values(changed.val)]


def test_without_a_cache_no_index_is_written(shards: Path) -> None:
    open_dataset(str(shards), resolution=12, cache_gb=0)
    cached = Path(os.environ["XDG_CACHE_HOME"], "convwright")
    assert [path.name for path in cached.iterdir()] == ["compiled"]  # kernels of all tests


def test_streamed_images_of_tar_files_are_those_of_the_cache(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = open_dataset(str(shards), resolution=9)
    monkeypatch.setattr("convwright.data.decoding.HELD_BYTES", 0)
    with pytest.warns(ConvwrightWarning, match="worker processes"):
        streamed = open_dataset(str(shards), resolution=9, cache_gb=0)
    assert isinstance(streamed.train.store, StreamedImages)
    assert torch.equal(streamed.train.images, cached.train.images)
    (shards / "001.tar").write_bytes((shards / "001.tar").read_bytes()[:2500])
    with pytest.raises(DataError, match=r"^001\.tar/.*png: .*; it could be read when the data was opened"):
        _ = streamed.train.images


def test_damaged_images_are_skipped_and_surveyed(shards: Path) -> None:
    members = samples(10)
    members["000011.png"] = b"no image"
    members["readme.md"] = b"text"
    write_tar(shards / "001.tar", members)
    data = open_dataset(str(shards), resolution=12)
    assert data.skipped == ("001.tar/000011.png: not an image of a known format",)
    assert [(each.suffix, each.files) for each in data.unused] == [(".md", 1)]
    found = cw.survey(str(shards / "{000..002}.tar"))
    assert found.counts == {"train": [9, 8]}
    assert found.unreadable == data.skipped


def test_a_run_of_tar_files_is_trained_and_evaluated(shards: Path, tmp_path: Path) -> None:
    spec = str(shards / "{000..002}.tar")
    run = cw.train(spec, network="cifar_resnet8", epochs=1, resolution=12, out=tmp_path / "run", progress=False)
    assert run.config.data == spec
    assert run.evaluate(data=spec).images == 2
