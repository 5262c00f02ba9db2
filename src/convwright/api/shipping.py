"""Shipping a trained network: exported files, and how long an image takes in each engine."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from convwright.bounds import COUNT, DURATION
from convwright.errors import ArgumentError
from convwright.options import Bounds, Flags, checks_arguments

if TYPE_CHECKING:
    from convwright.arch import Network
    from convwright.benchmarking.result import BenchResult
    from convwright.data.opened import Data
    from convwright.exporting.result import ExportResult
    from convwright.training.run import Run

Precision = Literal["f32", "bf16", "int8"]


@checks_arguments
def export(
    run: "Run | Network | str | Path",
    out: str | Path | None = None,
    *,
    format: Literal["onnx", "openvino", "torch", "litert", "executorch", "coreml"] | None = None,
    weights: str | None = None,
    data: "Data | str | Path | None" = None,
    images: Annotated[int | None, COUNT] = None,
    int8: bool = False,
    max_drop: Annotated[float | None, Bounds(ge=0, le=100)] = None,
    opset: Annotated[int | None, Bounds(ge=13, le=22)] = None,
    input: Literal["image", "tensor"] | None = None,
    explain: bool = False,
    limits: bool = True,
    push: str | None = None,
) -> "ExportResult":
    """Write a trained network as one file with its preprocessing and classes, verified on real images.

    The file gets its name only after every installed engine that reads it has reproduced the network's predictions.

    Args:
        run: A run or its directory; with `weights` a network.
        out: The file: .onnx, .xml (OpenVINO, with a .bin beside it), .safetensors (torch), .tflite (LiteRT), .pte
            (ExecuTorch) or .mlpackage (Core ML, a folder); by default in the current folder, named after the run.
        format: Format of the file; by default that of its suffix, or onnx.
        weights: Weights of a network: pretrained, torchvision, timm or a file.
        data: Images to verify and to calibrate on, instead of the run's own.
        images: Most images to verify on; 1000 by default.
        int8: Quantize to 8 bits, calibrated on training images.
        max_drop: With `int8`, percentage points of accuracy that 8 bits may cost; 0.5 by default. The file is refused
            if the 95 % interval of the loss on the images is above it.
        opset: For .onnx, the opset; 17 by default.
        input: What the file takes. image: one uint8 image, 1 x H x W x 3, of any size, which it crops and resizes as in
            training. tensor: a batch of uint8 images, N x C x H x W, at the network's resolution (for .tflite N x H x W
            x C, for .pte one image, for .mlpackage an image in Core ML's type). By default image, for .safetensors,
            .tflite, .pte and .mlpackage tensor.
        explain: Add an output activation_map: the class activation map of the predicted class, or of the class whose
            number is given as input explained_class. For networks with global pooling and one linear layer.
        limits: Fit on validation images, and add as outputs, what the network does not know: calibrated
            probabilities, prediction_set (contains the true class in 90 % of cases), energy, ood_score (the
            out-of-distribution score), and known (whether that is as low as for 95 % of validation images). A .tflite,
            .pte or .mlpackage has them in its card, without ood_score, and `predict` computes them of the first two.
        push: Upload the file and its model card to the Hugging Face Hub: hf://user/name.

    Returns:
        The files, and each engine's agreement and time. Where an engine is faster than torch on this machine, the
        run keeps a copy of the file and predicts with it from then on.

    Raises:
        UsageError: The export is not possible, or an optional package is missing.
        ConvwrightError: The file does not agree with the network, or cannot be written; nothing is replaced.

    Example:
        >>> done = cw.export("runs/digits", "digits.onnx", images=20)
        >>> done.path.name, done.agreements["onnxruntime"].same
        ('digits.onnx', 1.0)
    """
    from convwright.arch import Network
    from convwright.exporting.run_export import export_run
    from convwright.training.run import Run

    if not isinstance(run, Run | Network | str | Path):
        raise ArgumentError("run", f"must be a run or its directory, or with weights a network, not {run!r:.80}")
    return export_run(
        run,
        out,
        format=format,
        weights=weights,
        data=data,
        images=images,
        int8=int8,
        max_drop=max_drop,
        opset=opset,
        input=input,
        explain=explain,
        limits=limits,
        push=push,
    )


@checks_arguments
def bench(
    networks: "Sequence[Run | Network | str | Path] | Iterable[Run | Network | str | Path] | Run | Network | str | Path",  # noqa: E501
    *,
    engine: str | Sequence[str] | None = None,
    precision: Precision | Sequence[Precision] | None = None,
    batch: Annotated[int | Sequence[int], COUNT] = 1,
    threads: Annotated[int | Sequence[int] | None, COUNT] = None,
    seconds: Annotated[float, DURATION] = 2.0,
    layers: bool = False,
    select: Annotated[float | None, Bounds(gt=0, le=100), Flags(("--select", "--pick"))] = None,
) -> "BenchResult":
    """Measure latency, throughput and memory by engine, precision, batch size and threads.

    Every engine runs in a process of its own. The floor is a lower bound on the time, from the machine's speed of
    multiply-adds and its memory bandwidth.

    Args:
        networks: Runs, networks (with random weights) and exported files.
        engine: Engines: torch, torch-channels-last, torch-compile, torch-folded, onnxruntime, openvino, litert,
            executorch, or one of an installed plug-in; on an NVIDIA GPU torch-cuda, torch-cuda-compile,
            onnxruntime-cuda and tensorrt. By default all that are installed and find their device.
        precision: Precisions to compute in; f32 by default. A quantized file always computes in int8.
        batch: Images at once.
        threads: Number of threads; by default as many as there are cores.
        seconds: Time of each measurement.
        layers: Show the layers with the highest floor, of runs and networks.
        select: Let a run predict with the fastest engine that keeps this accuracy on its validation images, judged by
            the 95 % interval of what it loses; in percent, above 1: 92.5 means 92.5 %.

    Returns:
        A table for each network, for runs with the accuracy on validation images; `figure()` draws it. Its `failure`
        has the reason where no engine was selected or none could be measured.

    Raises:
        UsageError: There is no such network, file or engine, or none of the engines runs it.

    Example:
        >>> result = cw.bench("cifar_resnet20", engine="torch", seconds=0.1, threads=1)
        >>> [row.setting.engine for row in result.networks[0].rows]
        ['torch']
    """
    from convwright.arch import Network
    from convwright.benchmarking.run_bench import bench_networks
    from convwright.training.run import Run

    if not isinstance(networks, str | Path | Network | Run | Iterable):
        raise ArgumentError("networks", f"must be runs, networks or exported files, not {networks!r:.80}")
    return bench_networks(
        [networks] if isinstance(networks, str | Path | Network | Run) else list(networks),
        engine=[engine] if isinstance(engine, str) else engine,
        precision=[precision] if isinstance(precision, str) else precision,
        batch=[batch] if isinstance(batch, int) else batch,
        threads=[threads] if isinstance(threads, int) else threads,
        seconds=seconds,
        layers=layers,
        select=select,
    )
