"""Latency of our exported networks against timm's own, in the same engines: `python benchmarks/latency.py`.

Every contender of a network runs in turn, round after round in one process, so that other work of the machine
affects all of them alike; ratios are medians over rounds. `--clock cpu` counts the processor's time instead of the
clock's, for a machine that is busy (with one thread the two are the same on an idle one).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from machine import describe

import convwright as cw
from convwright.engines.own import openvino_runner
from convwright.engines.registry import fastest_engine, open_file
from convwright.engines.runner import Runner
from convwright.engines.torch_program import torch_runner
from convwright.exporting import check_images
from convwright.exporting.export import export
from convwright.exporting.quantization import Calibration
from convwright.exporting.run_export import open_subject
from convwright.exporting.subject import Subject
from convwright.exporting.writing import FORMATS, write_unverified

NETWORKS = ("efficientnet_b0", "densenet121", "seresnet50")
"""timm has each under the same name."""
PAUSE = 0.1
"""Seconds before each contender's turn: threads of the one before wait for more work at full speed for a while."""
START = """
import sys, time
started = time.perf_counter()
import convwright as cw
predictor = cw.load(sys.argv[1])
predictor.predict([sys.argv[2]])
assert "torch" not in sys.modules
print(time.perf_counter() - started, time.process_time())
"""


def onnxruntime_runner(path: Path, threads: int) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def openvino_file(path: Path, threads: int) -> Runner:
    import openvino

    core = openvino.Core()
    return openvino_runner(core, core.read_model(str(path)), threads, "f32")


def peer_file(name: str, folder: Path) -> Path:
    """Export timm's network as its users do, with torch's exporter."""
    import timm

    path = folder / f"timm_{name}.onnx"
    if not path.exists():
        module = timm.create_model(name, pretrained=False).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, (torch.zeros(1, 3, 224, 224),), path, dynamo=True, external_data=False, verbose=False
            )
    return path


def written(subject: Subject, folder: Path, stem: str, format: str, calibration: Calibration | None = None) -> Path:
    path = folder / f"{stem}{FORMATS[format]}"
    write_unverified(subject, path, calibration=calibration)
    return path


def contenders(name: str, folder: Path, peers: Path, threads: int, int8: bool) -> dict[str, tuple[Runner, np.ndarray]]:
    subject = Subject.untrained(cw.network(name))
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 224, 224), dtype=np.uint8)
    floats = (images / 255).astype(np.float32)
    peer = peer_file(name, peers)
    found = {
        "timm, ONNX Runtime": (onnxruntime_runner(peer, threads), floats),
        "timm, OpenVINO": (openvino_file(peer, threads), floats),
        "ours, ONNX Runtime": (onnxruntime_runner(written(subject, folder, name, "onnx"), threads), images),
        "ours, OpenVINO": (openvino_file(written(subject, folder, name, "openvino"), threads), images),
    }
    if not int8:
        found["ours, torch folded"] = (torch_runner(subject.eager_program, threads), images)
        found["torch channels last"] = (_eager(subject), images)
    else:  # the accuracy of random weights means nothing
        calibration = check_images.random_weights_calibration(subject.predictor)
        small = written(subject, folder, f"{name}-int8", "openvino", calibration)
        found["ours, OpenVINO int8"] = (openvino_file(small, threads), images)
        small = written(subject, folder, f"{name}-int8", "onnx", calibration)
        found["ours, ONNX Runtime int8"] = (onnxruntime_runner(small, threads), images)
    return found


def _eager(subject: Subject) -> Runner:
    module = subject.predictor.module
    mean, std = torch.tensor(0.5 * 255), torch.tensor(0.25 * 255)

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        return module(((torch.from_numpy(images) - mean) / std).to(memory_format=torch.channels_last)).numpy()

    return run


def rounds(found: dict[str, tuple[Runner, np.ndarray]], count: int, clock: str) -> dict[str, list[float]]:
    """Return milliseconds of each contender, round by round; the first run of a round warms the cache."""
    now = time.perf_counter if clock == "wall" else time.process_time
    times: dict[str, list[float]] = {name: [] for name in found}
    for index in range(count + 1):
        for name, (run, images) in found.items():
            time.sleep(PAUSE)
            run(images)
            started = now()
            run(images)
            if index:
                times[name].append(1000 * (now() - started))
    return times


def ratio(times: dict[str, list[float]], ours: str, theirs: str) -> str:
    """Return our fastest over their fastest: the median over rounds, and its quartiles."""
    best = [
        min((n for n in times if n.startswith(who)), key=lambda n: statistics.median(times[n]))
        for who in (ours, theirs)
    ]
    ratios = [mine / other for mine, other in zip(times[best[0]], times[best[1]], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{best[0]} / {best[1]}: {middle:.3f} (quartiles {low:.3f} to {high:.3f})"


def startup(folder: Path, runs: int) -> None:
    subject = Subject.untrained(cw.network("efficientnet_b0"))
    image = folder / "image.png"
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)).save(image)
    print("\nimport and first prediction from an exported EfficientNet-B0, without torch, in seconds")
    check = check_images.photographs(subject.predictor, 4)
    for format, suffix in (("onnx", ".onnx"), ("openvino", ".xml")):
        done = export(subject, folder / f"start{suffix}", format, check)
        command = [sys.executable, "-c", START, str(done.path), str(image)]
        rows = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(runs)]
        wall, cpu = (statistics.median(float(row[index]) for row in rows) for index in (0, 1))
        engine = fastest_engine(done.card.verified, list(done.agreements))
        print(f"{suffix:6} {engine:12} {wall:6.2f}   (processor time of the whole process {cpu:.2f})", flush=True)


def accuracy(run: str, folder: Path, threads: list[int], count: int, clock: str) -> None:
    """Quantize a run, and print the accuracy lost on its test images and the time gained by the very same file."""
    predictor, data = open_subject(run)
    assert data is not None
    subject = Subject(predictor)
    split = data.test if data.test is not None else data.val
    check = check_images.of_split(predictor, data, split, "test", 10_000)
    print(f"\n{predictor.network.name}, 8 bits after training, on {check.description}")
    for format, suffix in (("openvino", ".xml"), ("onnx", ".onnx")):
        floats = export(subject, folder / f"float{suffix}", format, check)
        calibration = check_images.calibration(predictor, data)
        small = export(subject, folder / f"accuracy{suffix}", format, check, calibration=calibration)
        kept = ", ".join(small.float_layers.groups) if small.float_layers and small.float_layers.groups else "nothing"
        for engine, found in small.agreements.items():
            lost, low, high = (100 * value for value in found.lost or (0, 0, 0))
            print(
                f"{suffix:6} in {engine:12} accuracy {found.accuracy:.2%}, {found.reference:.2%} in float: {lost:.2f} "
                f"points lost (95 % interval {low:.2f} to {high:.2f}); {kept} in float",
                flush=True,
            )
        for engine in filter(floats.agreements.__contains__, small.agreements):
            for number in threads:
                files = {"8 bits": small.path, "float": floats.path}
                runs = {name: (open_file(path, engine, number).run, check.images[:1]) for name, path in files.items()}
                gain = ratio(rounds(runs, count, clock), "8 bits", "float")
                print(f"{suffix:6} in {engine:12} {number} thread(s), batch 1, {gain}", flush=True)


def compared(network: str, folder: Path, options: argparse.Namespace, threads: int) -> None:
    """Time every contender of one network with this many threads."""
    torch.set_num_threads(threads)
    found = contenders(network, folder, options.peers or folder, threads, options.int8)
    times = rounds(found, options.rounds, options.clock)
    print(f"\n{network}, {threads} thread(s), milliseconds")
    if options.int8:
        print("(random weights, all layers in 8 bits: only their time means anything; --run has time and accuracy)")
    for contender, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"{contender:26} {middle:8.2f}   quartiles {low:8.2f} to {high:8.2f}", flush=True)
    floats = {contender: values for contender, values in times.items() if "int8" not in contender}
    print(ratio({n: v for n, v in floats.items() if "torch" not in n}, "ours", "timm"))
    if options.int8:
        small = {f"8 bits: {n}": v for n, v in times.items() if "int8" in n}
        print(ratio(small | {f"float: {n}": v for n, v in floats.items()}, "8 bits", "float"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--int8", action="store_true", help="8 bits against the best float engine")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--peers", type=Path, help="keep timm's exported files here")
    parser.add_argument("--start", type=int, default=0, help="time this many processes that predict from a file")
    parser.add_argument("--run", help="also quantize this run: the accuracy lost and the time gained by one file")
    options = parser.parse_args()
    counts = ", ".join(map(str, options.threads))
    print(f"{describe()}; batch 1, 224 px, {counts} thread(s), {options.clock} time, {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network in options.networks:
            for threads in options.threads:
                compared(network, folder, options, threads)
        if options.start:
            startup(folder, options.start)
        if options.run:
            accuracy(options.run, folder, options.threads, options.rounds, options.clock)


if __name__ == "__main__":
    main()
