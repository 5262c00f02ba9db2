"""Exported files that take an image of any size and explain themselves: `python benchmarks/file.py`.

EfficientNet-Lite0 with published weights is exported to ONNX and to OpenVINO, in float, and run as programs without
Convwright run it: from a decoded image to all outputs. Its answers on pictures of mixed sizes are compared with those
of Convwright in torch, which decodes and resizes with Pillow; its activation maps with those of `explain cam`. Pictures
are scikit-learn's two photographs, cut and resized at random, and files of the folders given as arguments.

Times are processor time of one thread, which other programs on the machine change little: medians of rounds in which
every contender runs in turn.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from machine import describe
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

import convwright as cw
from convwright.engines.registry import open_file
from convwright.engines.whole import WholeRunner, open_whole
from convwright.explain.activation import activation_maps
from convwright.prediction.network import Predictor
from convwright.prediction.pretrained import pretrained

NETWORK = "efficientnet_lite0"
STAMPS = Path("/usr/share/tuxpaint/stamps")
CASES = ((".onnx", "onnxruntime"), (".onnx", "openvino"), (".xml", "openvino"))
MAPPED = 100
"""Pictures whose maps are compared."""


def pictures(count: int, folders: list[Path]) -> Iterator[np.ndarray]:
    """Yield pictures, H x W x 3: half of them parts of photographs, half of them files, as far as there are some."""
    generator = np.random.default_rng(0)
    photos = load_sample_images().images
    files = sorted(path for folder in folders for path in folder.rglob("*.png"))
    chosen = generator.permutation(len(files))[: count // 2]
    for index in chosen:
        image = ImageOps.exif_transpose(Image.open(files[index])).convert("RGBA")
        yield np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))
    for index in range(count - len(chosen)):
        photo = photos[index % len(photos)]
        height, width = (int(generator.integers(side // 4, side + 1)) for side in photo.shape[:2])
        top, left = (
            int(generator.integers(0, most - side + 1))
            for most, side in zip(photo.shape[:2], (height, width), strict=True)
        )
        scale = float(np.exp(generator.uniform(np.log(0.5), np.log(4))))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        yield np.asarray(Image.fromarray(photo[top : top + height, left : left + width]).resize(size))


def compare(whole: WholeRunner, predictor: Predictor, images: list[np.ndarray], expected: np.ndarray) -> str:
    """Return how answers and maps of a file differ from those of Convwright in torch."""
    found = np.concatenate([whole(image[None])["logits"] for image in images])
    given, right = (torch.from_numpy(values).softmax(1).numpy() for values in (found, expected))
    same = float((given.argmax(1) == right.argmax(1)).mean())
    distances = []
    for image in images[:MAPPED]:
        outputs = whole(image[None])
        top = int(outputs["logits"].argmax())
        (expected_map,) = activation_maps(predictor, [image], method="cam", target=top).raw
        distances.append(float(np.abs(outputs["activation_map"][0] - expected_map).max() / np.abs(expected_map).max()))
    return f"{same:.1%} | {np.abs(given - right).max():.1e} | {max(distances):.1e}"


def medians(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of processor time of each contender, round by round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(rounds + 2):
        for name, work in contenders.items():
            started = time.process_time()
            work()
            if index >= 2:
                times[name].append(1000 * (time.process_time() - started))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[STAMPS], help="folders with PNG files")
    parser.add_argument("--count", type=int, default=1000, help="pictures")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    print(describe())
    predictor = pretrained(cw.network(NETWORK), "pretrained")
    images = list(pictures(arguments.count, [folder for folder in arguments.folders if folder.is_dir()]))
    sides = sorted(max(image.shape[:2]) for image in images)
    print(f"{len(images)} pictures, {sides[0]} to {sides[-1]} pixels on the longer side; {NETWORK} in torch beside")
    with torch.no_grad():
        expected = np.concatenate([predictor.logits(predictor.read(image)[None]).numpy() for image in images])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("\n| file | engine | same class | probability within | activation map within |\n|---|---|--:|--:|--:|")
        for suffix, engine in CASES:
            for explain in (False, True):
                stem = "explained" if explain else "plain"
                if not (path := folder / (stem + suffix)).is_file():
                    cw.export(NETWORK, path, weights="pretrained", explain=explain)
            print(f"| {suffix} | {engine} | {compare(open_whole(path, engine), predictor, images, expected)} |")
        show_times(folder, predictor, arguments.rounds)


def show_times(folder: Path, predictor: Predictor, rounds: int) -> None:
    photo = np.asarray(Image.fromarray(load_sample_images().images[0]).resize((1200, 900)))
    title = "network alone | Pillow + network | whole file | with map | map costs"
    print(f"\nmilliseconds of processor time, a photograph of 1200 x 900, one thread\n\n| file | engine | {title} |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for suffix, engine in CASES:
        plain, explained = (open_whole(folder / f"{stem}{suffix}", engine, 1) for stem in ("plain", "explained"))
        alone = open_file(folder / f"plain{suffix}", engine, 1).run
        pixels = predictor.read(photo).numpy()[None]
        times = medians(
            {
                "alone": lambda alone=alone, pixels=pixels: alone(pixels),
                "pillow": lambda alone=alone: alone(predictor.read(photo).numpy()[None]),
                "plain": lambda plain=plain: plain(photo[None]),
                "explained": lambda explained=explained: explained(photo[None]),
            },
            rounds,
        )
        cells = " | ".join(f"{statistics.median(found):.1f}" for found in times.values())
        ratios = [more / less for more, less in zip(times["explained"], times["plain"], strict=True)]
        print(f"| {suffix} | {engine} | {cells} | {100 * (statistics.median(ratios) - 1):+.1f} % |")


if __name__ == "__main__":
    main()
