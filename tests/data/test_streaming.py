"""Images that are decoded each time they are used: the same batches, and no process that outlives its use."""

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.data import Augmentation, Batches, Dataset, decoding, evaluation_batches, memory, open_dataset
from convwright.data.streaming import StreamedImages
from convwright.errors import ConvwrightError, ConvwrightWarning, DataError

AUGMENTATIONS = {
    "none": Augmentation(),
    "each image": Augmentation(
        crop=2, flip=True, crop_scale=0.4, randaugment=9, erasing=0.3, brightness=0.2, rotation=9
    ),
    "mixed": Augmentation(flip=True, mixup=0.2, cutmix=1),
}


@pytest.fixture
def photos(noise: Callable[..., Image.Image], tmp_path: Path) -> Path:
    """JPEG files of several sizes, and one that is no image, in two classes."""
    root = tmp_path / "photos"
    for number in range(24):
        path = root / ("cats" if number % 2 else "dogs") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(40 + number, 70 - number, number).save(path)
    (root / "cats/broken.jpg").write_bytes(b"no image")
    return root


@pytest.fixture
def streamed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The photographs, too many for a cache and for the memory."""
    return open_streamed(photos, monkeypatch)


def open_streamed(photos: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> Dataset:
    monkeypatch.setattr(decoding, "HELD_BYTES", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvwrightWarning)
        data = open_dataset(str(photos), **{"resolution": 32, "cache_gb": 0} | options)  # type: ignore[arg-type]
    assert isinstance(data.train.store, StreamedImages)
    return data


def workers() -> set[int]:
    """Processes that decode, started by this one."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"PPid:\t{os.getpid()}\n" in (folder / "status").read_text():
                command = (folder / "cmdline").read_bytes()
                found |= {int(folder.name)} if b"decode_worker" in command else set()
        except OSError:
            continue
    return found


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_batches_are_those_of_cached_images_bit_by_bit(name: str, photos: Path, streamed: Dataset) -> None:
    cached = open_dataset(str(photos), resolution=32)
    assert isinstance(cached.train.store, torch.Tensor)
    assert (cached.fingerprint, cached.mean, cached.std, cached.skipped) == (
        streamed.fingerprint,
        streamed.mean,
        streamed.std,
        streamed.skipped,
    )
    one, other = (Batches(data.train, data, 5, 3, AUGMENTATIONS[name]) for data in (cached, streamed))
    with closing(other.iterate(2, 9, workers=3)) as batches:
        for step, (images, labels) in enumerate(batches, 2):
            assert torch.equal(images, one.at(step)[0])
            assert torch.equal(labels, one.at(step)[1])
    pairs = zip(evaluation_batches(cached.val, cached, 2), evaluation_batches(streamed.val, streamed, 2), strict=True)
    assert all(torch.equal(a, b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_processes_that_share_a_batch_see_its_images_and_decode_their_part(
    name: str, streamed: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    augmentation, read = AUGMENTATIONS[name], []
    whole = Batches(streamed.train, streamed, 7, 0, augmentation).at(3)[0]
    original = StreamedImages.read
    monkeypatch.setattr(StreamedImages, "read", lambda store, rows: read.append(len(rows)) or original(store, rows))
    for number in range(2):
        part = Batches(streamed.train, streamed, 7, 0, augmentation, part=(number, 2)).at(3)[0]
        assert torch.equal(part.tensor_split(2)[number], whole.tensor_split(2)[number])
    assert read == ([7, 7] if name == "mixed" else [4, 3])


def test_what_was_found_out_is_kept_where_the_cache_is_too_small_for_the_images(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[object] = []
    original = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda *given: decoded.append(given) or original(*given))
    first = open_streamed(photos, monkeypatch, cache_gb=2e-5)
    assert len(decoded) == 24
    again = open_streamed(photos, monkeypatch, cache_gb=2e-5)
    assert len(decoded) == 24
    assert (first.fingerprint, first.skipped) == (again.fingerprint, again.skipped)


def test_a_message_says_what_was_chosen(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "HELD_BYTES", 0)
    for limit in (0, 2e-5):
        with pytest.warns(ConvwrightWarning, match=r"25 decoded images take .*worker processes.*`cache_gb=1`") as found:
            open_dataset(str(photos), resolution=32, cache_gb=limit)
        assert len(found) == 1


def test_an_image_that_has_gone_is_named(photos: Path, streamed: Dataset) -> None:
    (photos / "cats/1.jpg").unlink()
    with pytest.raises(DataError, match=r"^cats/1\.jpg: no such file; it could be read when the data was opened$"):
        _ = streamed.train.images, streamed.val.images


def test_an_image_with_other_pixels_than_at_the_opening_is_named(
    photos: Path, streamed: Dataset, noise: Callable[..., Image.Image]
) -> None:
    first = streamed.train.images
    path = photos / "cats/1.jpg"
    os.utime(path, (1, 1))
    assert torch.equal(streamed.train.images, first)  # a file that was only touched
    noise(60, 60, 99).save(path)
    with pytest.raises(DataError, match=r"^cats/1\.jpg has changed since the data was opened; "):
        _ = streamed.train.images, streamed.val.images


@pytest.mark.parametrize(("share", "held"), [(5, True), (3, False)])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_memory_for_images_follows_the_free_memory(
    share: int, held: bool, processes: int, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(memory, "available_memory", lambda: 25 * 32**2 * 3 * share * processes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvwrightWarning)
        data = open_dataset(str(photos), resolution=32, cache_gb=0)
    assert isinstance(data.train.store, torch.Tensor) == held


def test_modules_in_the_current_folder_do_not_hide_those_of_workers(
    streamed: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pickle.py").write_text("raise RuntimeError('the wrong module')")
    monkeypatch.chdir(tmp_path)
    assert len(streamed.train.images) > 0


def test_the_last_line_of_a_worker_that_fails_is_in_the_message(
    streamed: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL/__init__.py").write_text("raise RuntimeError('a damaged package')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConvwrightError, match=r"ended with status 1; RuntimeError: a damaged package$"):
        _ = streamed.train.images


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")
class TestProcesses:
    @pytest.fixture(autouse=True)
    def _no_others(self) -> None:
        self.before = workers()

    def started(self) -> set[int]:
        return workers() - self.before

    def test_a_process_that_is_killed_is_an_error_and_no_hang(self, streamed: Dataset) -> None:
        batches = Batches(streamed.train, streamed, 4)
        with closing(batches.iterate(0, 10**6, workers=2)) as made:
            next(made)
            for process in self.started():
                os.kill(process, signal.SIGKILL)
            with pytest.raises(ConvwrightError, match="a process that decodes images ended with status -9"):
                for _ in made:
                    pass

    def test_processes_end_with_the_data(self, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = open_streamed(photos, monkeypatch)
        data.train.take(torch.arange(3))
        assert self.started()
        del data
        assert not self.started()

    @pytest.mark.parametrize(
        "how",
        [*(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGINT, signal.SIGTERM)), signal.SIGKILL],
    )
    def test_no_process_and_no_file_outlives_a_run_that_is_stopped(
        self, how: signal.Signals, photos: Path, tmp_path: Path
    ) -> None:
        script = (
            "import sys, signal, convwright as cw; from convwright.data import decoding; decoding.HELD_BYTES = 0\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler); signal.alarm(240)\n"
            "cw.train(sys.argv[1], network='cifar_resnet8', epochs=100000, resolution=16, cache_gb=0, out=sys.argv[2],"
            " progress=False, batch_size=4, fused=False)\n"
        )
        shared = set(Path("/dev/shm").glob("convwright-*"))
        command = [sys.executable, "-W", "ignore", "-c", script, str(photos), str(tmp_path / "run")]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as child:
            children: list[int] = []
            deadline = time.monotonic() + 200
            while not children or not (tmp_path / "run/metrics.csv").exists():
                assert child.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
                listed = Path(f"/proc/{child.pid}/task/{child.pid}/children")
                children = [int(number) for task in listed.parent.parent.iterdir() for number in _children(task)]
            os.killpg(child.pid, how)
            child.wait(30)
        deadline = time.monotonic() + 10
        while alive := [number for number in children if Path(f"/proc/{number}").exists()]:
            assert time.monotonic() < deadline, alive
            time.sleep(0.05)
        assert set(Path("/dev/shm").glob("convwright-*")) <= shared

    def test_a_process_killed_during_the_first_decoding_leaves_no_file(self, tmp_path: Path) -> None:
        image, temporary = tmp_path / "large.png", tmp_path / "temporary"
        Image.new("L", (8000, 8000)).save(image)  # takes long enough to be caught while it is decoded
        temporary.mkdir()
        script = (
            "import sys, signal, numpy as np; from convwright.data.decoders import Decoders\n"
            "from convwright.data.framing import Framing\n"
            "signal.alarm(240); Decoders(1).pixels([sys.argv[1]] * 50, np.zeros((50, 3, 8, 8), np.uint8), Framing())\n"
        )
        shared = set(Path("/dev/shm").iterdir())
        command = [sys.executable, "-c", script, str(image)]
        with subprocess.Popen(command, env=os.environ | {"TMPDIR": str(temporary)}) as child:
            worker = _worker_with_memory(child)
            os.kill(worker, signal.SIGSTOP)
            child.kill()
            child.wait(30)
            assert not list(temporary.iterdir())
            assert not {file.name for file in set(Path("/dev/shm").iterdir()) - shared if "convwright" in file.name}
            os.kill(worker, signal.SIGKILL)


def _worker_with_memory(process: subprocess.Popen[bytes]) -> int:
    """Return the process that decodes, once it has mapped the memory that it shares."""
    deadline = time.monotonic() + 200
    tasks = Path(f"/proc/{process.pid}/task")
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        for number in (int(number) for task in tasks.iterdir() for number in _children(task)):
            with suppress(OSError):
                if "memfd:convwright-" in Path(f"/proc/{number}/maps").read_text():
                    return number
        time.sleep(0.01)


def _children(task: Path) -> list[str]:
    try:
        return (task / "children").read_text().split()
    except OSError:
        return []


def test_a_stopped_run_resumes_to_the_weights_of_a_run_on_cached_images(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"epochs": 3, "resolution": 16, "batch_size": 4, "progress": False, "seed": 1}

    class StopOnce:
        def on_validation(self, row: object) -> None:
            raise KeyboardInterrupt

    cached = cw.train(str(photos), network="cifar_resnet8", out=tmp_path / "cached", **options)  # type: ignore[arg-type]
    monkeypatch.setattr(decoding, "HELD_BYTES", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvwrightWarning)
        with pytest.raises(KeyboardInterrupt):
            cw.train(
                str(photos),
                network="cifar_resnet8",
                out=tmp_path / "streamed",
                cache_gb=0,
                callbacks=[StopOnce()],
                **options,  # type: ignore[arg-type]
            )
        streamed = cw.resume(tmp_path / "streamed", cache_gb=0, workers=1, progress=False)
    assert streamed.weights.read_bytes() == cached.weights.read_bytes()
