"""Exporting a run, or a network with published weights: its file, images and default values."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from convwright.arch import Network
from convwright.data import Dataset
from convwright.data.opened import Data
from convwright.display.progress import status
from convwright.engines.selection import EngineSelection, fingerprint
from convwright.errors import ArgumentError, ImagesChangedError, argument, warn
from convwright.exporting import check_images
from convwright.exporting.agreement import CheckImages
from convwright.exporting.coreml_export import check_package_target
from convwright.exporting.export import Input, check_possible, check_suffix, export, why_no_image_input
from convwright.exporting.keeping import keep_export
from convwright.exporting.model_card import push as push_to_hub
from convwright.exporting.model_card import write_model_card
from convwright.exporting.quantization import MAX_DROP
from convwright.exporting.result import ExportResult
from convwright.exporting.subject import Subject
from convwright.exporting.verification import image_seconds
from convwright.exporting.writing import FOR_PHONES, FORMAT_OF, FORMATS
from convwright.extras import require_package
from convwright.places import check_file
from convwright.prediction.features import MOST_TRAINING
from convwright.prediction.hub import parse_address
from convwright.prediction.network import Predictor
from convwright.prediction.network import load as load_run
from convwright.prediction.run_limits import (
    MOST_HELD,
    Labelled,
    check_unchanged,
    fit_network_limits,
    keep_without_score,
    run_limits,
)
from convwright.prediction.stored_limits import NetworkLimits
from convwright.stats.limits import FEWEST
from convwright.training.allocator import kept_memory
from convwright.training.run import Run
from convwright.training.run_data import is_own, open_run_data
from convwright.zoo.reading import FILE, is_network, read_network


def export_run(
    run: Run | Network | str | Path,
    out: str | Path | None,
    *,
    format: str | None,
    weights: str | None,
    data: Data | str | Path | None,
    images: int | None,
    int8: bool,
    max_drop: float | None,
    opset: int | None,
    input: Input | None = None,
    explain: bool = False,
    limits: bool = True,
    push: str | None = None,
    search_seconds: float | None = None,
) -> ExportResult:
    """Export what a user names; see `convwright.api.shipping.export`.

    `search_seconds` limits the search for layers that quantization leaves in float; see `Calibration`.
    """
    format, file = target(_name(run), format, None if out is None else Path(out))
    if push is not None:
        parse_address(push, "push")
        require_package("huggingface_hub", "`push`")
    if max_drop is not None and not int8:
        raise ArgumentError("max_drop", "it limits what quantization costs; it needs `int8`")
    check_possible(format, opset, int8=int8)
    path = None if weights is not None else Run.of(_run(run)).path
    before = fingerprint(path) if path is not None and data is None else None
    predictor, opened = open_subject(run, weights, data)
    if opened is None and int8:
        raise ArgumentError("int8", "quantization needs training images for calibration; give `data`")
    if opened is None and images is not None:
        raise ArgumentError("images", "a network without data is verified on two photographs; it needs `data`")
    check = (
        check_images.photographs(predictor)
        if opened is None
        else check_images.of_split(predictor, opened, opened.val, "validation", images or check_images.MOST)
    )
    allowed = MAX_DROP if max_drop is None else max_drop / 100
    calibration = check_images.calibration(predictor, opened, allowed, search_seconds) if int8 and opened else None
    own = predictor.run if data is None or (predictor.run is not None and is_own(predictor.run, data)) else None
    with kept_memory(), status("exporting") as progress:
        progress("fitting temperature and thresholds")
        fitted = _limits(predictor, opened, own, int8=int8) if opened is not None and limits else None
        subject = Subject(predictor, _name(run))
        takes = input or _default_input(predictor, format)
        done = export(
            subject,
            file,
            format,
            check,
            input=takes,
            explain=explain,
            limits=fitted,
            opset=opset,
            calibration=calibration,
            progress=progress,
        )
        if own is not None and fitted is not None and _lacks_score(done, format):
            keep_without_score(own, fitted)
        written = write_model_card(done)
        done = replace(done, model_card=written)
        if push is not None:
            progress("uploading")
            done = replace(done, pushed=push_to_hub(done, written, push))
        if path is None or before is None or format in FOR_PHONES:
            return done
        return replace(done, selection=_kept(path, subject, done, check.images[:1], before))


def open_subject(
    run: Run | Network | str | Path, weights: str | None = None, data: Data | str | Path | None = None
) -> tuple[Predictor, Dataset | None]:
    """Load a run, or a network with published weights, with its images.

    Args:
        run: A run or its directory; with `weights` a network.
        weights: Published weights for a network.
        data: Images instead of the run's own.

    Returns:
        The predictor, and the images; None for a network without `data`.
    """
    if weights is None:
        opened_run = Run.of(_run(run))
        predictor = load_run(opened_run.path)
        with argument("data"):
            return predictor, open_run_data(opened_run, None if data is None else Data.of(data))
    from convwright.prediction.pretrained import pretrained

    if isinstance(run, Run) or (not isinstance(run, Network) and (Path(run) / FILE).is_file()):
        raise ArgumentError("weights", f"{_name(run)} is a run and has weights of its own; leave the argument out")
    with argument("run"):
        network = run if isinstance(run, Network) else read_network(str(run))
    with argument("weights"):
        predictor = pretrained(network, weights)
    return predictor, None if data is None else _images(data, predictor)


def target(name: str, format: str | None, out: Path | None) -> tuple[str, Path]:
    """Return the format and the file of an export.

    Args:
        name: Name of what is exported, after which the file is named by default.
        format: The format; None: by the file's suffix, or `onnx`.
        out: The file; None: in the current folder, named after the run.
    """
    if out is None:
        stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(name).resolve().name)
        format = format or "onnx"
        out = Path(stem + FORMATS[format])
    elif format is None:
        if out.suffix not in FORMAT_OF:
            raise ArgumentError("out", f"{out}: end it in {', '.join(FORMAT_OF)}, or give the format")
        format = FORMAT_OF[out.suffix]
    check_suffix(format, out)
    if format == "coreml":
        check_package_target(out)
    else:
        check_file("out", out)
    return format, out


def _limits(predictor: Predictor, data: Dataset, run: Run | None, *, int8: bool) -> NetworkLimits | None:
    """Return the limits of a network; None for a multi-label network, one class, too few images, and changed ones.

    Args:
        predictor: The network.
        data: Images to fit them on.
        run: The run whose own images these are; None for other images.
        int8: Whether the file is in 8 bits.
    """
    if predictor.multi_label or len(data.val) < FEWEST or len(predictor.classes) < 2:
        return None
    if run is not None:
        try:
            if int8:  # its limits are fitted on these images, not read
                check_unchanged(run, data)
            return run_limits(run, predictor, data)
        except ImagesChangedError as error:
            warn(f"the file has no limits: {error}")
            return None
    held = _labelled(check_images.of_split(predictor, data, data.val, "validation", MOST_HELD))
    training = _labelled(check_images.of_split(predictor, data, data.train, "training", MOST_TRAINING))
    return None if held is None else fit_network_limits(predictor, held, training)


def _labelled(check: CheckImages) -> Labelled | None:
    return None if check.labels is None else Labelled(torch.from_numpy(check.images), check.labels)


def _lacks_score(done: ExportResult, format: str) -> bool:
    """Return whether a 32-bit file has no score because rounding dominates it; then its run drops the score too."""
    limits = done.card.limits
    return format not in FOR_PHONES and done.card.precision == "f32" and limits is not None and limits.ood_score is None


def _default_input(predictor: Predictor, format: str) -> Input:
    """Return what a file takes by default: an image of any size wherever that is possible."""
    return "tensor" if why_no_image_input(predictor, format) else "image"


def _images(data: Data | str | Path, predictor: Predictor) -> Dataset:
    with argument("data"):
        return Data.of(data).dataset(predictor.resolution, framing=predictor.framing)


def _run(run: Run | Network | str | Path) -> Run | str | Path:
    if isinstance(run, Network) or (isinstance(run, str | Path) and not Path(run).exists() and is_network(str(run))):
        raise ArgumentError(
            "weights", f"{_name(run)} is a network, not a run directory; give `weights`, as 'pretrained'"
        )
    return run


def _name(run: Run | Network | str | Path) -> str:
    if isinstance(run, Run):
        return str(run.path)
    return run.name if isinstance(run, Network) else str(run)


def _kept(
    run: Path, subject: Subject, done: ExportResult, image: np.ndarray, before: dict[str, str]
) -> EngineSelection | None:
    """Let the run predict with the exported file, where that is faster than torch."""
    reference = subject.reference
    return keep_export(run, done, 1000 * image_seconds(lambda: reference(image)), before)
