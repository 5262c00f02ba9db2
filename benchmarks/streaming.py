"""How fast images are decoded while training: `python benchmarks/streaming.py`.

JPEG photographs of ImageNet's usual size to float batches, resized, cropped and normalised: Convwright's loader from
files and from tar files, torchvision's ImageFolder with torch's DataLoader, and WebDataset's loader, each with as many
processes. Beside them what the same number of processes does without any loader: decode alone, with libjpeg-turbo
(`torchvision.io.decode_jpeg`), and decode and resize, as Convwright's loader must.
"""

import argparse
import statistics
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from machine import describe
from torch.utils.data import DataLoader
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from convwright.data import Batches, Dataset, decoding, open_dataset
from convwright.data.images import decode
from data import BATCH, PHOTO, SIDE, theirs, write_photos

SHARDS = 8


def write_shards(root: Path, photos: Path) -> None:
    """Write the photographs into tar files of WebDataset's convention, classes by turns."""
    root.mkdir()
    files = sorted(photos.rglob("*.jpg"), key=lambda path: (int(path.stem), path.parent.name))
    for number in range(SHARDS):
        with tarfile.open(root / f"{number:06d}.tar", "w") as archive:
            for place, path in enumerate(files[number::SHARDS]):
                label = root / "label"
                label.write_text(path.parent.name.removeprefix("class"))
                archive.add(path, f"{number}-{place:05d}.jpg")
                archive.add(label, f"{number}-{place:05d}.cls")
                label.unlink()


def decode_all(paths: list[str]) -> int:
    torch.set_num_threads(1)
    for path in paths:
        content = torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8)
        decode_jpeg(content, ImageReadMode.RGB)
    return len(paths)


def decode_and_resize_all(paths: list[str]) -> int:
    for path in paths:
        decode(path, (SIDE, SIDE), 3)
    return len(paths)


def speed_of(work: Callable[[], int]) -> float:
    """Return images per second."""
    started = time.perf_counter()
    return work() / (time.perf_counter() - started)


def drain(batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> int:
    return sum(len(images) for images, _ in batches)


def ours(data: Dataset, processes: int) -> int:
    batches = Batches(data.train, data, BATCH)
    return drain(batches.iterate(0, batches.steps_per_epoch, processes))


def web_loader(root: Path, data: Dataset, processes: int) -> DataLoader:
    """WebDataset's batches of the tar files."""
    import webdataset

    transforms = v2.Compose(
        [
            v2.Resize(SIDE, v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(SIDE),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(data.mean, data.std),
        ]
    )
    names = f"{root}/{{000000..{SHARDS - 1:06d}}}.tar"
    pipeline = webdataset.WebDataset(names, shardshuffle=SHARDS).shuffle(500).decode("pil").to_tuple("jpg", "cls")
    return webdataset.WebLoader(
        pipeline.map_tuple(transforms, int).batched(BATCH), batch_size=None, num_workers=processes
    )


def opened(spec: str) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_dataset(spec, resolution=SIDE, cache_gb=0, val_share=0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(describe())
    decoding.HELD_BYTES = 0  # else few images are held in memory
    with tempfile.TemporaryDirectory() as place:
        photos, shards = Path(place) / "photos", Path(place) / "shards"
        write_photos(photos, options.images)
        write_shards(shards, photos)
        measure(photos, shards, options.processes, options.runs)


def measure(photos: Path, shards: Path, processes: int, runs: int) -> None:
    data, packed = opened(str(photos)), opened(str(shards))
    paths = [str(path) for path in sorted(photos.rglob("*.jpg"))]
    parts = [paths[number :: 2 * processes] for number in range(2 * processes)]
    with get_context("spawn").Pool(processes) as pool:
        pool.map(decode_all, [[part[0]] for part in parts])
        pool.map(decode_and_resize_all, [[part[0]] for part in parts])
        works: dict[str, Callable[[], int]] = {
            "libjpeg-turbo alone": lambda: sum(pool.map(decode_all, parts, 1)),
            "decode and resize alone": lambda: sum(pool.map(decode_and_resize_all, parts, 1)),
            "Convwright, files": partial(ours, data, processes),
            "Convwright, tar files": partial(ours, packed, processes),
            "ImageFolder, DataLoader": lambda: drain(theirs(photos, data, processes)),
            "WebDataset": lambda: drain(web_loader(shards, data, processes)),
        }
        # In turns, so that what else the machine does meets all alike.
        rounds = [[speed_of(work) for work in works.values()] for _ in range(runs)]
    speeds = [statistics.median(each) for each in zip(*rounds, strict=True)]
    print(f"\n{len(paths)} photographs of {PHOTO[0]} x {PHOTO[1]}, {processes} processes, medians of {runs} runs")
    print(f"{'':26} {'images/s':>9} {'of libjpeg-turbo':>17} {'of decode, resize':>18} {'of the peers':>13}")
    for name, speed in zip(works, speeds, strict=True):
        shares = f"{speed / speeds[0]:17.0%} {speed / speeds[1]:18.0%} {speed / max(speeds[4:]):12.2f}x"
        print(f"{name:26} {speed:9,.0f} {shares}")


if __name__ == "__main__":
    main()
