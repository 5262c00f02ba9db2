import errno
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convwright.data import Dataset, decoding, open_dataset
from convwright.data.cache import Cache
from convwright.data.image_store import FileImageStore
from convwright.data.images import decode
from convwright.data.item_index import ItemIndex, keys_of
from convwright.data.packed_names import PackedNames
from convwright.errors import ConvwrightWarning, UsageError
from convwright.files import cache_folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded, as they are."""
    names: list[str] = []

    def counted(path: str, *options: int) -> np.ndarray:
        names.append(Path(path).name)
        return decode(path, *options)

    monkeypatch.setattr(decoding, "decode", counted)
    return names


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> None:
    warnings.simplefilter("error", ConvwrightWarning)


def opened(folder: Path, **options: object) -> Dataset:
    return open_dataset(str(folder), **{"max_bad": 1} | options)  # type: ignore[arg-type]


def same(one: Dataset, two: Dataset) -> bool:
    pairs = ((one.train, two.train), (one.val, two.val))
    return (
        (one.fingerprint, one.mean, one.std, one.skipped) == (two.fingerprint, two.mean, two.std, two.skipped)
        and all(torch.equal(a.images, b.images) for a, b in pairs)
        and all(torch.equal(a.labels, b.labels) for a, b in pairs)
    )


def units() -> dict[str, Path]:
    """The cache's folders, by what is in them."""
    return {path.name.split("-")[1]: path for path in (cache_folder() / "decoded").iterdir() if path.is_dir()}


def size() -> int:
    return sum(path.stat().st_size for path in cache_folder().rglob("*") if path.is_file())


def test_a_folder_is_decoded_once(cats_and_dogs: Path, decoded: list[str]) -> None:
    first = opened(cats_and_dogs)
    assert len(decoded) == 20
    again = opened(cats_and_dogs)
    assert len(decoded) == 20
    assert same(first, again)
    assert same(first, opened(cats_and_dogs, cache_gb=0))
    assert len(decoded) == 40


def test_another_seed_resolution_or_name_of_the_folder(cats_and_dogs: Path, decoded: list[str], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(cats_and_dogs)
    opened(cats_and_dogs)
    opened(cats_and_dogs, seed=1, val_share=0.5)
    opened(link)
    assert len(decoded) == 20
    assert opened(cats_and_dogs, resolution=9).train.images.shape[2:] == (9, 9)
    assert len(decoded) == 40


def test_only_what_changed_is_decoded_again(
    cats_and_dogs: Path, paint: Callable[..., Path], decoded: list[str]
) -> None:
    opened(cats_and_dogs)
    del decoded[:]
    paint("dogs/new.png", 77)
    (cats_and_dogs / "cats/9.png").unlink()
    changed, before = cats_and_dogs / "cats/1.png", (cats_and_dogs / "cats/1.png").stat()
    pixels = changed.read_bytes()
    paint("cats/1.png", 13)
    assert len(pixels) == before.st_size == changed.stat().st_size
    os.utime(changed, ns=(before.st_mtime_ns,) * 2)  # a program may set its time back
    (cats_and_dogs / "dogs/0.png").unlink()
    (cats_and_dogs / "dogs/0.png").symlink_to("1.png")
    data = opened(cats_and_dogs)
    assert sorted(decoded) == ["0.png", "1.png", "new.png"]
    assert same(data, opened(cats_and_dogs, cache_gb=0))


def test_what_is_unreadable_is_remembered_where_another_try_would_end_the_same(
    cats_and_dogs: Path, noise: Callable[..., Image.Image], decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    half, gone = cats_and_dogs / "cats/half.png", cats_and_dogs / "cats/gone.png"
    noise(64, 64).save(half)
    half.write_bytes(half.read_bytes()[:2000])
    (cats_and_dogs / "cats/text.png").write_text("no image")
    gone.symlink_to("later.png")
    looked: list[str] = []
    read_header = decoding.read_header

    def counted(path: str) -> object:
        looked.append(Path(path).name)
        return read_header(path)

    monkeypatch.setattr(decoding, "read_header", counted)
    first = opened(cats_and_dogs)
    assert len(first.skipped) == 3
    assert (len(looked), decoded.count("half.png")) == (23, 1)
    assert same(first, opened(cats_and_dogs))
    assert (len(looked), decoded.count("half.png")) == (24, 1)
    assert looked[-1] == "gone.png"
    Image.new("L", (16, 12), 5).save(cats_and_dogs / "cats/later.png")
    assert len(opened(cats_and_dogs).skipped) == 2


def test_a_file_that_changes_while_it_is_read(cats_and_dogs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def changing(path: str, *options: int) -> np.ndarray:
        if Path(path).name == "5.png":
            os.utime(path)
        return decode(path, *options)

    monkeypatch.setattr(decoding, "decode", changing)
    assert opened(cats_and_dogs).skipped == tuple(f"{n}/5.png: it changed while it was read" for n in ("cats", "dogs"))
    monkeypatch.setattr(decoding, "decode", decode)
    assert opened(cats_and_dogs).skipped == ()


def test_a_cache_of_which_most_is_out_of_date_starts_anew(cats_and_dogs: Path, paint: Callable[..., Path]) -> None:
    for turn in range(4):
        for i in range(10):
            paint(f"cats/{i}.png", turn * 10 + i)
            paint(f"dogs/{i}.png", turn * 10 + 100 + i)
        data = opened(cats_and_dogs)
        assert same(data, opened(cats_and_dogs, cache_gb=0))
    assert (units()["1x12x12"] / "pixels").stat().st_size <= 2 * 20 * 144


@pytest.mark.parametrize("journal_lost", [False, True])
def test_who_has_the_images_mapped_keeps_them(
    journal_lost: bool, cats_and_dogs: Path, paint: Callable[..., Path], tmp_path: Path
) -> None:
    """A run of the whole night reads its images from the map, whatever becomes of the folder meanwhile."""
    data = opened(cats_and_dogs, resolution=128)
    before = data.train.images
    for i in range(10):
        for name in (f"cats/{i}.png", f"dogs/{i}.png"):
            if i < 2 or journal_lost:
                paint(name, 90 + i)
            else:
                (cats_and_dogs / name).unlink()
    if journal_lost:
        (units()["1x128x128"] / "journal").unlink()
    assert opened(cats_and_dogs, resolution=128).train.images.min() >= 90
    assert torch.equal(data.train.images, before)


SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from pathlib import Path
from convwright.data import decoding, open_dataset
folder, log, pause = sys.argv[1:]
original = decoding.decode
def slow(path, *options):
    time.sleep(float(pause))
    with open(log, "a") as file:
        file.write(Path(path).name + "\\n")
    return original(path, *options)
decoding.decode = slow
decoding.SECONDS_BETWEEN_SAVES = 0
data = open_dataset(folder)
print(data.fingerprint)
"""


def process(folder: Path, log: Path, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(folder), str(log), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_leaves_what_it_saved(
    how: signal.Signals, cats_and_dogs: Path, decoded: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.touch()
    with process(cats_and_dogs, log, 0.2) as child:  # slow enough for a busy machine to kill it in time
        while len(log.read_text().splitlines()) < 10:
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(how)
    data = opened(cats_and_dogs)
    assert 1 <= len(decoded) <= 14  # those that were under way are lost
    assert same(data, opened(cats_and_dogs, cache_gb=0))


def test_processes_share_the_work(cats_and_dogs: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    children = [process(cats_and_dogs, log, 0.02) for _ in range(3)]
    prints = {child.communicate()[0] for child in children}
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(log.read_text().splitlines()) == 20
    assert prints == {opened(cats_and_dogs, cache_gb=0).fingerprint + "\n"}


def test_waiting_for_another_process_is_told(cats_and_dogs: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    reported: list[str] = []
    with process(cats_and_dogs, log, 0.2) as child:
        while not log.exists():
            time.sleep(0.01)
        opened(cats_and_dogs, progress=lambda done, total, what: reported.append(what))
        child.communicate()
    assert reported == ["waiting for another run that reads these images"]
    assert child.returncode == 0


def tear(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes()[:-20])


def garble(journal: Path) -> None:
    journal.write_bytes(b"\0\xff[1, 2]\n{}\n" + journal.read_bytes()[:200])


def lose_pixels(journal: Path) -> None:
    os.truncate(journal.with_name("pixels"), 1000)


def drop_pixels(journal: Path) -> None:
    journal.with_name("pixels").unlink()


def drop_journal(journal: Path) -> None:
    journal.unlink()


@pytest.mark.parametrize("damage", [tear, garble, lose_pixels, drop_pixels, drop_journal])
def test_a_damaged_cache_is_not_believed(
    damage: Callable[[Path], None], cats_and_dogs: Path, decoded: list[str]
) -> None:
    right = opened(cats_and_dogs, cache_gb=0)
    opened(cats_and_dogs)
    for unit in ("headers", "1x12x12"):
        if (units()[unit] / "pixels").exists() or damage in (tear, garble, drop_journal):
            damage(units()[unit] / "journal")
    del decoded[:]
    assert same(opened(cats_and_dogs), right)
    assert decoded
    del decoded[:]
    assert same(opened(cats_and_dogs), right)
    assert not decoded


def test_the_least_recently_used_data_goes_when_the_limit_is_reached(
    cats_and_dogs: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 125_000
    monkeypatch.setenv("CONVWRIGHT_CACHE_GB", str(limit / 1e9))
    for resolution in (40, 41, 42, 40, 43):
        opened(cats_and_dogs, resolution=resolution)
        for unit, age in zip(("1x40x40", "1x41x41", "1x42x42"), (3, 2, 1), strict=True):
            if resolution < 43 and unit in units() and unit != f"1x{resolution}x{resolution}":
                os.utime(units()[unit], (time.time() - 100 * age,) * 2)
        assert size() <= limit
    assert {"1x40x40", "1x43x43"} <= units().keys()
    assert "1x41x41" not in units()
    del decoded[:]
    opened(cats_and_dogs, resolution=43)
    assert not decoded


def test_a_data_set_at_work_is_not_dropped(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "units", 1000)
    with cache.unit("busy") as busy, cache.unit("old") as old:
        (busy / "file").write_bytes(bytes(600))
        (old / "file").write_bytes(bytes(300))
        with cache.unit("new") as new:
            with pytest.raises(OSError, match="filled by other"):
                cache.reserve(new, 700, lambda: pytest.fail("it claims"))
            cache.reserve(new, 100, lambda: None)
    with cache.unit("new") as new:
        cache.reserve(new, 700, lambda: None)
    assert not busy.exists()
    assert new.exists()


def test_a_mapped_data_set_outlives_its_cache(cats_and_dogs: Path) -> None:
    data = opened(cats_and_dogs)
    before = data.train.images
    for path in units()["1x12x12"].iterdir():
        path.unlink()
    assert torch.equal(data.train.images, before)


def test_more_than_the_limit_is_decoded_into_memory(cats_and_dogs: Path) -> None:
    with pytest.warns(
        ConvwrightWarning, match=r"take .* more than the 5e-06 GB of the cache, .* held in memory; `cache_gb=1`"
    ) as caught:
        data = opened(cats_and_dogs, cache_gb=5e-6)
    assert len(caught) == 1
    assert same(data, opened(cats_and_dogs, cache_gb=0))


def test_without_a_cache_nothing_is_written(cats_and_dogs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVWRIGHT_CACHE_GB", "0")
    opened(cats_and_dogs)
    assert [path.name for path in cache_folder().iterdir()] == ["compiled"]  # kernels of all tests


@pytest.mark.parametrize("limit", ["much", "-1", "nan"])
def test_limits_that_mean_nothing(limit: str, cats_and_dogs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVWRIGHT_CACHE_GB", limit)
    with pytest.raises(UsageError, match="must be a number of gigabytes"):
        opened(cats_and_dogs)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "fsync"])
def test_a_full_disk_costs_the_cache_only(call: str, cats_and_dogs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = opened(cats_and_dogs, cache_gb=0)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.warns(ConvwrightWarning, match="^the cache of decoded images cannot be used: No space left") as w:
            assert same(opened(cats_and_dogs), right)
        assert len(w) == 1
    assert same(opened(cats_and_dogs), right)


LIMITED = """
import resource, sys, warnings
from convwright.data import open_dataset
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
warnings.showwarning = lambda message, *_: print("warning:", message)
print(open_dataset(sys.argv[1]).fingerprint)
"""


def test_a_disk_that_the_system_limits(cats_and_dogs: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(cats_and_dogs)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].startswith("warning: the cache of decoded images cannot be used: File too large")
    assert lines[1:] == [opened(cats_and_dogs, cache_gb=0).fingerprint]


def test_a_cache_folder_that_cannot_be_made(cats_and_dogs: Path) -> None:
    (cache_folder() / "compiled").unlink()
    cache_folder().rmdir()
    cache_folder().write_text("a file in its place")
    with pytest.warns(ConvwrightWarning, match="cannot be used"):
        opened(cats_and_dogs)


def test_a_file_store_maps_what_memory_need_not_hold(tmp_path: Path) -> None:
    with FileImageStore(tmp_path / "pixels", (1, 1024, 1024)) as store:
        os.truncate(tmp_path / "pixels", 2**38)  # a quarter of a terabyte, of holes
        store.put(2**18 - 1, np.full((1, 1024, 1024), 7, np.uint8))
        images = store.view()
    assert images.shape[0] == 2**18
    assert images[-1].float().mean() == 7
    assert not images[1000].any()


def index_of(path: Path, names: list[str]) -> tuple[ItemIndex, np.ndarray]:
    return ItemIndex(path, 1), keys_of(PackedNames(names))


def test_an_index_uses_complete_records_of_unchanged_images(tmp_path: Path) -> None:
    path, odd = tmp_path / "journal", os.fsdecode(b"caf\xe9\n")
    index, keys = index_of(path, ["a", odd, "b"])
    index.put(keys[0], 2**64 - 1, [3])
    index.put_reason(keys[1], 7, "damaged")
    index.save()
    path.write_bytes(path.read_bytes() + b"torn")
    stamps = np.array([2**64 - 1, 7, 7], np.uint64)
    again, _ = index_of(path, [])
    found = again.find(keys, stamps)
    assert (found >= 0).tolist() == [True, True, False]
    assert again.values(found[:1]).tolist() == [[3]]
    assert again.reasons(found[:2]) == ["", "damaged"]
    assert again.find(keys, stamps - np.uint64(1)).tolist() == [-1, -1, -1]
    again.put(keys[0], 5, [6])
    again.save()
    newest, _ = index_of(path, [])
    found = newest.find(keys, np.array([5, 7, 7], np.uint64))
    assert newest.values(found[:1]).tolist() == [[6]]
    assert newest.find(keys[:1], stamps[:1]).tolist() == [-1]


def test_an_index_without_its_reasons_or_with_changed_bytes_is_not_believed(tmp_path: Path) -> None:
    index, keys = index_of(tmp_path / "journal", ["a", "b"])
    index.put(keys[0], 5, [3])
    index.put_reason(keys[1], 7, "damaged")
    index.save()
    stamps = np.array([5, 7], np.uint64)
    (tmp_path / "journal.reasons").unlink()
    assert (index_of(tmp_path / "journal", [])[0].find(keys, stamps) >= 0).tolist() == [True, False]
    content = bytearray((tmp_path / "journal").read_bytes())
    content[33] ^= 1
    (tmp_path / "journal").write_bytes(content)
    assert (index_of(tmp_path / "journal", [])[0].find(keys, stamps) >= 0).tolist() == [False, False]
