"""Correctness and speed on one GPU, in eight minutes: `python benchmarks/gpu.py --out gpu.json`.

    python benchmarks/gpu.py                          everything on an NVIDIA GPU
    python benchmarks/gpu.py --only resume memory     some sections
    python benchmarks/gpu.py --device cpu --quick     the same programs at their smallest size, without a GPU

Each section runs in a process of its own, the most important rows first. It ends where its share of the time is not
enough for one more row, as the last row then says; that is an error where correctness is checked. What a section had
found before it failed is kept, and the others run all the same. Correctness
comes first: logits, gradients and augmentation against the CPU; runs that are killed and
resumed, and steps that are repeated, to the bit. Then training throughput beside timm's networks, also with the
deterministic operations of `train`, latency beside the floor, and memory. Writes one JSON file with the machine,
versions and all rows; the exit status is 1 if a section has an error.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import describe
from torch import nn

import convwright as cw
from convwright.arch import at, fit_resolution
from convwright.data import Augmentation, Batches, Dataset, Split
from convwright.training.config import PrecisionName
from convwright.training.plan import plan
from convwright.training.precision import Precision
from convwright.training.preparation import make_learner
from convwright.training.process_state import make_reproducible, preserved_process_state

Row = dict[str, Any]
PACKAGES = ("convwright", "torch", "torchvision", "timm", "triton", "onnxruntime-gpu", "onnxruntime", "tensorrt")
PRECISIONS: tuple[PrecisionName, ...] = ("32-true", "bf16-mixed", "16-mixed")
FAMILIES = ("resnet18", "densenet121", "seresnet50", "efficientnet_b0", "efficientnet_v2_s", "mobilenet_v2", "vgg11")
TRAINED = {"efficientnet_b0": "efficientnet_b0", "seresnet50": "seresnet50", "densenet121": "densenet121"}
"""Networks of the throughput, and timm's names."""
SMALL = ("cifar_resnet8", "densenet_bc_l16_k8", "efficientnet_b0|scale:d=0.3,w=0.25")
"""Networks of the runs that are killed, and of `--quick`."""
CLOSE = {"32-true": 1e-3, "bf16-mixed": 0.1, "16-mixed": 0.02}
"""Largest difference from the CPU, as a share of the largest value, that is no error."""
CLOSE_PIXELS = 2.0
"""Largest difference of augmented pixels, of 255: they are rounded in other places."""
PATIENCE = 20
"""Times that a CPU may take, which may be busy with other work."""
RESERVE = 1.3
"""Times of the slowest row so far that have to be left for one more row."""
LEAST_SECONDS = 3.0
"""Seconds that the slowest row is taken to need at least."""
STOPPED = "the time of the section was used up"
CHECKS = ("agreement", "resume")
"""Sections that must be complete: a missing row means that something was not checked."""
GPU_ENGINES = ("torch-cuda", "onnxruntime-cuda", "tensorrt", "torch-cuda-compile")
KILLED = """
import os, signal, sys
import convwright as cw

class Kill(cw.callbacks.Callback):
    def on_step(self, step):
        if step.number == 7:
            os.kill(os.getpid(), signal.SIGKILL)

name, precision, compiled, out, kill = sys.argv[1:]
cw.train("digits", network=name, precision=precision, compile=compiled == "True", fused=False, ema=0.9, mixup=0.2,
         epochs=0.4, out=out, checkpoint_every=0, callbacks=[Kill()] if kill == "True" else [])
"""


@dataclass(frozen=True)
class Setup:
    """Where and how large a section runs."""

    device: str
    quick: bool

    @property
    def batch(self) -> int:
        """Images of a training step."""
        return 4 if self.quick else 128

    def size(self, name: str) -> int:
        """Return the side of the images of a network in pixels."""
        return 32 if self.quick or name in SMALL else 224


@dataclass(frozen=True)
class Section:
    """A part of the benchmark, and the seconds that it may take."""

    rows: Callable[[Setup], Iterator[Row]]
    seconds: float


def built(name: str, setup: Setup, **options: Any) -> nn.Module:
    """Return a network in torch's operators, channels last, on the device."""
    network = at(fit_resolution(cw.network(name), setup.size(name)), channels=3)
    module: nn.Module = cw.build(network, seed=0, fused=False, **options)
    return module.to(setup.device).to(memory_format=torch.channels_last)


def images_for(name: str, count: int, setup: Setup) -> torch.Tensor:
    """Return random images on the CPU, which are the same for every device."""
    images = torch.randn(count, 3, setup.size(name), setup.size(name), generator=torch.Generator().manual_seed(0))
    return images.contiguous(memory_format=torch.channels_last)


def wait(setup: Setup) -> None:
    """Wait until the device has finished its work."""
    if setup.device == "cuda":
        torch.cuda.synchronize()


def checked(row: Row, error: float, bound: float) -> Row:
    """Return a row with an error, and whether it is below a bound."""
    return row | {"error": error, "bound": bound, "ok": error <= bound}


def agreement(setup: Setup) -> Iterator[Row]:
    """Compare logits and gradients of each family, and augmented images, with those of the CPU."""
    torch.backends.cudnn.allow_tf32 = False  # which would hide what is wrong
    for name in SMALL[:2] if setup.quick else FAMILIES:
        images, reference = images_for(name, 8, setup), built(name, Setup("cpu", setup.quick))
        for part in reference.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0
        with torch.no_grad():
            reference.train()(images)  # with the statistics of these images, values keep their size in each layer
        module = built(name, setup)
        module.load_state_dict(reference.state_dict())
        expected, gradient = outputs_of(reference, images, "32-true")
        for precision in PRECISIONS:
            logits, found = outputs_of(module, images.to(setup.device), precision)
            yield checked({"network": name, "logits": precision}, distance(logits, expected), CLOSE[precision])
            if precision == "32-true":
                yield checked({"network": name, "gradient": precision}, distance(found, gradient), CLOSE[precision])
    yield from augmented(setup)


def outputs_of(module: nn.Module, images: torch.Tensor, precision: PrecisionName) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits in evaluation mode, and the gradient of their mean square, on the CPU."""
    module.eval().zero_grad(set_to_none=True)
    with Precision(precision, images.device).autocast():
        logits = module(images).float()
    logits.square().mean().backward()
    weights = [weight.grad for weight in module.parameters() if weight.grad is not None]
    return logits.detach().cpu(), torch.cat([each.flatten().cpu() for each in weights])


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference as a share of the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def noise_data(count: int, side: int) -> Dataset:
    """Return a data set of smooth noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, 8, 8, generator=generator)
    images = (255 * nn.functional.interpolate(images, size=(side, side), mode="bilinear")).to(torch.uint8)
    split = Split(images, torch.arange(count) % 10)
    return Dataset("noise", tuple("0123456789"), split, split, None, (0.5,) * 3, (0.25,) * 3, "")


def augmented(setup: Setup) -> Iterator[Row]:
    """Compare augmented images with those of the CPU, and the time of a batch."""
    side, count = (32, 16) if setup.quick else (224, 128)
    data = noise_data(count, side)
    for name, options in {
        "crop, flip, erasing": {"crop": side // 8, "flip": True, "erasing": 0.25},
        "random resized crop, colours": {"crop_scale": 0.3, "flip": True, "brightness": 0.4, "hue": 0.1},
        "mixup, cutmix": {"mixup": 0.2, "cutmix": 1.0},
        "trivialaugment": {"trivialaugment": True},
    }.items():
        given = (data.train, data, count, 0, Augmentation(**options))
        here, there = Batches(*given), Batches(*given, device=torch.device(setup.device))
        expected, found = here.at(0)[0], there.at(0)[0].cpu()
        differences = (found - expected).abs().flatten()[::64]
        error = 255 * 0.25 * float(differences.quantile(0.999))  # a few pixels lie on an edge between two others
        times = [seconds_of(lambda made=made: made.at(1), setup, 1, 3) for made in (here, there)]
        row = {"augmentation": name, "cpu_seconds": median(times[0]), "device_seconds": median(times[1])}
        yield checked(row, error, CLOSE_PIXELS)


def seconds_of(work: Callable[[], object], setup: Setup, warm_up: int, count: int) -> list[float]:
    """Return the times of calls, each with the device's work finished."""
    times = []
    for _ in range(warm_up + count):
        wait(setup)
        began = time.perf_counter()
        work()
        wait(setup)
        times.append(time.perf_counter() - began)
    return times[warm_up:]


def resume(setup: Setup) -> Iterator[Row]:
    """Kill runs and resume them in new processes; repeat steps of large networks in this one."""
    cases = [(SMALL[0], "16-mixed", False)]
    if not setup.quick:
        cases.append((SMALL[0], "bf16-mixed", True))
        cases += [(name, each, False) for each in PRECISIONS for name in SMALL[1:]]
    yield from repeated(setup)
    for name, precision, compiled in cases:
        with tempfile.TemporaryDirectory() as folder:
            whole, killed = Path(folder) / "whole", Path(folder) / "killed"
            given = [name, precision, str(compiled)]
            run_python(*given, str(whole), "False")
            status = run_python(*given, str(killed), "True")
            resumed = cw.resume(killed, progress=False)
            same = resumed.weights.read_bytes() == cw.open_run(whole).weights.read_bytes()
            row = {"network": name, "precision": precision, "compile": compiled, "killed": status < 0}
            yield row | {"skipped_steps": resumed.summary.skipped_steps, "ok": same and status < 0}


def run_python(*arguments: str) -> int:
    """Train in a new process, and return its exit status, which is negative where it was killed."""
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False)
    if done.returncode > 0:
        raise RuntimeError(f"training ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.returncode


def repeated(setup: Setup) -> Iterator[Row]:
    """Take the same steps twice, and compare the weights."""
    for name in SMALL[:1] if setup.quick else TRAINED:
        data = noise_data(setup.batch, setup.size(name))
        for precision in PRECISIONS:
            weights = []
            for _ in range(2):
                given = {"precision": precision, "batch_size": min(32, setup.batch), "fused": False}
                config, network = plan(data, cw.network(name), recipe={"learning_rate": 0.001}, **given)
                with preserved_process_state():
                    learner = make_learner(config, network, data)
                    batches = Batches(data.train, data, config.batch_size, 0, device=learner.fabric.device)
                    learner.train()
                    for step in range(3):
                        learner.train_step(*batches.at(step), step, 3)
                weights.append(torch.cat([each.flatten().cpu() for each in learner.network.state_dict().values()]))
            yield {"network": name, "precision": precision, "repeated": 3, "ok": torch.equal(*weights)}


def throughput(setup: Setup) -> Iterator[Row]:
    """Measure training steps beside timm's: first uncompiled ones of all networks, then compiled ones.

    Uncompiled steps are measured with deterministic operations too, which `train` uses.
    """
    names = dict.fromkeys(SMALL[:1]) if setup.quick else TRAINED
    kinds = [("32-true", ""), ("bf16-mixed", ""), ("16-mixed", "")]
    kinds += [] if setup.quick else [("bf16-mixed", "default"), ("bf16-mixed", "reduce-overhead")]
    for precision, mode in kinds:
        for name, peer in names.items():
            contenders = [("convwright", False)] + [("timm", False)] * bool(peer) + [("convwright", True)] * (not mode)
            for library, deterministic in contenders:
                row: Row = {"network": name, "library": library, "precision": precision, "compile": mode}
                row["deterministic"] = deterministic
                try:
                    module = built(name, setup) if library == "convwright" else timm_network(str(peer), setup)
                    with preserved_process_state() if deterministic else nullcontext():
                        if deterministic:
                            make_reproducible(torch.device(setup.device), tf32=True)  # as `train` does
                        yield row | steps_of(module, name, precision, mode, setup)
                except (RuntimeError, ImportError) as error:
                    yield row | {"problem": str(error).splitlines()[0][:200], "ok": library == "timm"}
                torch.compiler.reset()


def timm_network(name: str, setup: Setup) -> nn.Module:
    """Return a network of timm, channels last, on the device."""
    import timm

    module: nn.Module = timm.create_model(name, num_classes=1000)
    return module.to(setup.device).to(memory_format=torch.channels_last)


def steps_of(module: nn.Module, name: str, precision: PrecisionName, mode: str, setup: Setup) -> Row:
    """Return images a second and the peak memory of training steps with SGD, on images on the device."""
    format = Precision(precision, torch.device(setup.device))
    optimizer = torch.optim.SGD(module.train().parameters(), 0.001, 0.9, nesterov=True)
    run = torch.compile(module, dynamic=False, mode=None if mode == "default" else mode) if mode else module
    images = images_for(name, setup.batch, setup).to(setup.device)
    labels = torch.arange(setup.batch, device=setup.device) % 10
    if setup.device == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        if mode == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        with format.autocast():
            logits = run(images)
        format.scaled(nn.functional.cross_entropy(logits.float(), labels)).backward()
        format.update(optimizer, None)

    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    times = seconds_of(step, setup, 1 if setup.quick else 5, 2 if setup.quick else 15)
    peak = torch.cuda.max_memory_allocated() if setup.device == "cuda" else None
    return {
        "images_per_second": setup.batch / median(times),
        "median_ms": 1e3 * median(times),
        "first_step_seconds": first,
        "peak_bytes": peak,
    }


def latency(setup: Setup) -> Iterator[Row]:
    """Measure latency and throughput in each engine, beside the floor of the device."""
    engines = [name for name in GPU_ENGINES if usable(name)] if setup.device == "cuda" else ["torch-channels-last"]
    names, batches, seconds = (SMALL[:1], 1, 0.1) if setup.quick else (tuple(TRAINED), (1, 64), 1.0)
    for index, engine in enumerate(engines):
        for name in names:
            found = cw.bench(name, engine=engine, batch=batches, seconds=seconds).to_dict()
            if index == 0 and name == names[0]:
                yield {"machine": found["machine"]}
            for row in found["networks"][0]["engines"]:  # type: ignore[index]
                yield {"network": name, **row}


def usable(name: str) -> bool:
    """Return whether an engine can be measured here."""
    from convwright.benchmarking.backends import backends_named

    with suppress(cw.UsageError):
        return bool(backends_named([name]))
    return False


def memory(setup: Setup) -> Iterator[Row]:
    """Measure peak memory and time of DenseNet-121 with memory-efficient dense blocks and without."""
    name = SMALL[1] if setup.quick else "densenet121"
    for precision in ("32-true", "bf16-mixed"):
        for efficient in (False, True):
            module = built(name, setup, memory_efficient=efficient)
            yield {"network": name, "precision": precision, "memory_efficient": efficient} | steps_of(
                module, name, precision, "", setup
            )


SECTIONS = {
    "agreement": Section(agreement, 60),
    "resume": Section(resume, 110),
    "throughput": Section(throughput, 210),
    "latency": Section(latency, 60),
    "memory": Section(memory, 35),
}
"""Every section in order; the seconds add up to less than eight minutes."""


def child(name: str, setup: Setup, file: Path, deadline: float) -> None:
    """Run a section in this process, and append each of its rows to a file, as many as its time is enough for."""
    began, longest, rows_of = time.monotonic(), LEAST_SECONDS, SECTIONS[name].rows(setup)
    with file.open("a", encoding="utf-8") as rows:
        while time.monotonic() + RESERVE * longest < deadline:
            if (row := next(rows_of, None)) is None:
                return
            rows.write(json.dumps(row) + "\n")
            rows.flush()
            began, longest = time.monotonic(), max(longest, time.monotonic() - began)
        rows.write(json.dumps({"stopped": STOPPED}) + "\n")


def limit_of(name: str, setup: Setup) -> float:
    """Return the seconds that a section may take."""
    return SECTIONS[name].seconds * (1 if setup.device == "cuda" else PATIENCE)


def measured(name: str, setup: Setup) -> Row:
    """Run a section in a process of its own; return its rows, seconds and error."""
    began, limit = time.monotonic(), limit_of(name, setup)
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if setup.device == "cpu" else {})
    command = [sys.executable, __file__, "--device", setup.device, *["--quick"] * setup.quick]
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder) / "rows.jsonl", Path(folder) / "log"
        file.touch()
        with log.open("w") as messages:
            started = subprocess.Popen(
                [*command, "--child", name, str(file), str(began + limit)],
                env=environment,
                stderr=messages,
                start_new_session=True,
            )
            try:
                status = started.wait(limit)
                error = "" if status == 0 else f"ended with status {status}"
            except subprocess.TimeoutExpired:
                error = f"took more than {limit:.0f} s; the rows are those until then"
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)  # with the processes that it has started
            started.wait()
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        if error.startswith("ended"):
            error = (log.read_text(encoding="utf-8").strip().splitlines() or [error])[-1][:500]
    complete = not any("stopped" in row for row in rows)
    if not complete and name in CHECKS:
        error = error or f"{STOPPED} before everything was checked"
    wrong = [row for row in rows if row.get("ok") is False]
    error = error or (f"{len(wrong)} of {len(rows)} rows are wrong, such as {json.dumps(wrong[0])}" if wrong else "")
    return {
        "seconds": round(time.monotonic() - began, 1),
        "error": error or None,
        "complete": complete and not error,
        "rows": rows,
    }


def machine(device: str) -> Row:
    """Return what everything is measured on."""
    found: Row = {"processor": describe(), "device": device, "torch_cuda": torch.version.cuda}
    if device == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability()))
        memory_bytes = torch.cuda.get_device_properties(0).total_memory
        found |= {"gpu": torch.cuda.get_device_name(), "capability": capability, "gpu_bytes": memory_bytes}
        found["cudnn"] = torch.backends.cudnn.version()
    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return found | {"versions": versions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="the smallest networks, images and batches")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), help="sections")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the JSON file to write")
    parser.add_argument("--child", nargs=3, metavar=("SECTION", "FILE", "DEADLINE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no NVIDIA GPU; use --device cpu --quick to try the program")
    setup = Setup(arguments.device, arguments.quick)
    if arguments.child:
        name, file, deadline = arguments.child
        child(name, setup, Path(file), float(deadline))
        return
    report: Row = {"machine": machine(setup.device), "quick": setup.quick, "sections": {}}
    for name in arguments.only:
        report["sections"][name] = found = measured(name, setup)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {len(found['rows'])} rows in {found['seconds']} s; {found['error'] or 'no error'}", flush=True)
    sys.exit(any(found["error"] for found in report["sections"].values()))


if __name__ == "__main__":
    main()
