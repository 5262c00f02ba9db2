"""Trained networks: evaluated, compared, loaded, and used for predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Union

from convwright.bounds import COUNT
from convwright.options import Bounds, checks_arguments

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

    from convwright.data.opened import Data
    from convwright.evaluation.comparison import Comparison
    from convwright.evaluation.multi_label_comparison import MultiLabelComparison
    from convwright.evaluation.multi_label_result import MultiLabelEvaluation
    from convwright.evaluation.result import Evaluation
    from convwright.prediction.files import FilePredictor, RunPredictor
    from convwright.prediction.network import Predictor
    from convwright.prediction.result import Predictions
    from convwright.training.run import Run

__all__ = ["compare", "evaluate", "load", "predict"]

OneImage = Union[str, Path, "Image.Image", "np.ndarray", "torch.Tensor"]
SplitName = Literal["test", "val", "train", "all"]
Count = Annotated[int, COUNT]


@checks_arguments
def evaluate(
    run: "Run | str | Path",
    *,
    split: SplitName | None = None,
    data: "Data | str | Path | None" = None,
    tta: bool = False,
    predictions: str | Path | None = None,
    device: "torch.device | str" = "auto",
) -> "Evaluation | MultiLabelEvaluation":
    """Measure a run's accuracy, with its 95 % confidence interval, and precision, recall and calibration by class.

    Args:
        run: A run or its directory.
        split: Images to evaluate on. Default: test; without test images val, or all images of `data`.
        data: Another folder, list or built-in data set with the same classes, matched by name; by default the run's
            own data.
        tta: Average over each image shifted and mirrored as in training (test-time augmentation).
        predictions: CSV file for label, prediction and probability of each image. Names that start like a formula
            get a ' before them.
        device: `cpu`, `cuda` or `auto`.

    Returns:
        Accuracy, loss, classes, confusion matrix and calibration; a notebook shows the matrix and a reliability
        diagram, which `figure()` returns as a Plotly figure. Of a multi-label run, mean average precision with its
        bootstrap interval, and average precision, F1 and threshold of each class.

    Raises:
        RunError: There is no run, it is damaged, or it has no weights yet.
        DataError: The data cannot be opened or has other classes.
        ArgumentError: An argument has a wrong value, or the file cannot be written.

    Example:
        >>> evaluation = cw.evaluate("runs/digits")
        >>> evaluation.split, evaluation.images
        ('test', 359)
    """
    from convwright.places import check_file

    file = None if predictions is None else Path(predictions)
    check_file("predictions", file)  # before torch is loaded
    from convwright.evaluation.evaluating import evaluate_run
    from convwright.training.run import Run

    return evaluate_run(Run.of(run), split, data=data, tta=tta, predictions=file, device=device)


@checks_arguments
def compare(
    first: "Run | str | Path",
    second: "Run | str | Path",
    *,
    split: SplitName | None = None,
    data: "Data | str | Path | None" = None,
    device: "torch.device | str" = "auto",
) -> "Comparison | MultiLabelComparison":
    """Compare the accuracies of two runs on the same images, with the interval of their difference.

    Args:
        first: A run or its directory.
        second: Another run with the same classes.
        split: Images to compare on. Default: test; without test images val, or all images of `data`.
        data: Another folder, list or built-in data set with the classes of both runs; by default the runs' own data.
        device: `cpu`, `cuda` or `auto`.

    Returns:
        Both accuracies, their paired difference with its 95 % interval (Agresti and Min 2005), and the p-value of
        McNemar's exact test. Of multi-label runs, the difference of their mean average precisions, with interval and
        p-value of a paired bootstrap over images.

    Raises:
        RunError: There is no run, it is damaged, or it has no weights yet.
        DataError: The data cannot be opened or has other classes.
        ArgumentError: The runs have different data, or hold out different images.

    Example:
        >>> comparison = cw.compare("runs/dense", "runs/gated")
        >>> comparison.interval[0] <= comparison.difference <= comparison.interval[1]
        True
    """
    from convwright.evaluation.comparison import compare_runs
    from convwright.training.run import Run

    return compare_runs(Run.of(first, "first"), Run.of(second, "second"), split=split, data=data, device=device)


@checks_arguments
def predict(
    run: "Run | str | Path",
    images: "OneImage | Sequence[OneImage]" = (),
    *,
    files_from: str | Path | None = None,
    weights: str | None = None,
    top: Count | None = None,
    batch_size: Count = 64,
    device: "torch.device | str" = "auto",
    engine: str | None = None,
    coverage: Annotated[float | None, Bounds(ge=0.5, le=0.99)] = None,
    cluster: str | None = None,
    cores_per_task: Count = 1,
) -> "Predictions":
    """Rank the most likely classes of images. Images that cannot be read are reported, and the others are predicted.

    Args:
        run: A run or its directory, or an exported file, also hf://user/name; with `weights`, a network.
        images: Files, folders (images at any depth), patterns such as `a/**/*.png`, or - for standard input; in
            Python also Pillow images, arrays H x W x C and tensors C x H x W of uint8, and lists of these.
        files_from: A file, or - for standard input, that lists more images: one name a line, or ended by NUL.
        weights: Weights for a network: pretrained, torchvision, timm, or a file of weights.
        top: Classes to name for each image; 3. A multi-label run names every class above its threshold.
        batch_size: Images of a batch.
        device: `cpu`, `cuda` or `auto`.
        engine: Engine for an exported file: onnxruntime, openvino or torch; by default the fastest.
        coverage: Give each image the set of classes that contains the true one in this share of cases: 0.9 means in 9
            of 10. Thresholds are those of the file, or fitted on the run's validation images and kept in the run.
        cluster: Predict on this Ray cluster instead: an address, `auto`, or `local`. The network is sent to it, and its
            nodes read the files under the same paths.
        cores_per_task: Cores of each worker on a cluster.

    Returns:
        A list of predictions, each with `file`, `classes` and `probabilities`, and `label` and `probability` of the
        most likely class.

    Raises:
        RunError: There is no run, it is damaged, or it has no weights yet.
        ConvwrightError: None of the images could be read.
        ArgumentError: No image was found, or an argument has a wrong value.

    Example:
        >>> predictions = cw.predict("runs/photos", "new/", top=2)
        >>> predictions[0].file, sorted(predictions[0].classes)
        ('new/holiday.png', ['flower', 'temple'])
    """
    from convwright.prediction.result import Predictions
    from convwright.prediction.stream import open_stream

    stream = open_stream(
        run,
        images,
        files_from,
        top=top,
        batch_size=batch_size,
        device=device,
        engine=engine,
        weights=weights,
        coverage=coverage,
        cluster=cluster,
        cores_per_task=cores_per_task,
    )
    return Predictions.collect(stream)


@checks_arguments
def load(
    run: "Run | str | Path",
    device: "torch.device | str" = "cpu",
    engine: str | None = None,
    weights: str | None = None,
) -> Union["Predictor", "RunPredictor", "FilePredictor"]:
    """Load a run, an exported file or a network with published weights, to predict with it many times.

    Args:
        run: A run or its directory, an exported file (.onnx, .xml, .safetensors, .tflite, .pte), also on the Hugging
            Face Hub (hf://user/name), or with `weights` a network.
        device: Where torch computes: `cpu`, `cuda` or `auto`.
        engine: Engine for an exported file: onnxruntime, openvino or torch; by default the fastest.
        weights: Weights for a network: pretrained, torchvision, timm, or a file of weights.

    Returns:
        A predictor: `predict` takes an image, or several and returns what `cw.predict` does; `probabilities` takes a
        batch of uint8 values. A run uses the engine that `convwright bench --select` or `convwright export` measured
        as the fastest on this machine, unless a GPU is requested, or `device` is `auto` and there is a GPU.

    Raises:
        RunError: There is no run, it is damaged, or it has no weights yet.
        UsageError: The value is no run, exported file or network, or the arguments exclude each other.

    Example:
        >>> predictor = cw.load("runs/photos")
        >>> predictor.predict(["new/holiday.png"], top=1)[0].label in predictor.classes
        True
    """
    from convwright.prediction.files import load as load_predictor

    return load_predictor(run, device, engine, weights)
