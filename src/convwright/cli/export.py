"""`convwright export`: a trained network as one file that holds all it needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convwright.cli.output import echo, print_json
from convwright.cli.places import check_file
from convwright.errors import UsageError
from convwright.printable import quoted
from convwright.zoo.reading import FILE, is_network, read_network

if TYPE_CHECKING:
    import numpy as np

    from convwright.data import Dataset
    from convwright.engines.selection import EngineSelection
    from convwright.exporting.agreement import Agreement
    from convwright.exporting.export import Exported
    from convwright.exporting.subject import Subject
    from convwright.prediction.network import Predictor

SUFFIXES = {".onnx": "onnx", ".xml": "openvino", ".safetensors": "torch"}


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run directory; with --weights, a network.")],
    format: Annotated[
        str | None, typer.Option(help="onnx, openvino or torch; by default what --out ends in, else onnx.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file: .onnx, .xml (with a .bin beside) or .safetensors.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Whose weights a network gets: pretrained, torchvision, timm, or a file.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Images to verify (and calibrate) on, where a run's own will not do.")
    ] = None,
    images: Annotated[int, typer.Option(help="How many images to verify on, at most.")] = 1000,
    int8: Annotated[bool, typer.Option("--int8", help="Quantize to 8 bits, calibrated on training images.")] = False,
    max_drop: Annotated[float, typer.Option(help="Points of accuracy that 8 bits may cost.")] = 0.5,
    opset: Annotated[int | None, typer.Option(help="ONNX opset, 13 to 22; by default 17.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a network with its preprocessing and classes inside, verified on real images before it gets its name."""
    if images < 1 or not 0 <= max_drop <= 100:
        raise UsageError("--images is 1 or more, and --max-drop from 0 to 100 points")
    format, out = _target(run, format, out)
    from convwright.display.progress import errors, status_text
    from convwright.engines.selection import fingerprint
    from convwright.exporting import check_images
    from convwright.exporting import export as exporting
    from convwright.exporting.subject import Subject

    exporting.check_possible(format, opset, int8=int8)
    before = fingerprint(Path(run)) if weights is None and data is None else None
    predictor, opened = load(run, weights, data)
    if opened is None and int8:
        raise UsageError("--int8 is calibrated on training images, and there are none: say which with --data")
    check = (
        check_images.photographs(predictor)
        if opened is None
        else check_images.of_split(predictor, opened, opened.val, "validation", images)
    )
    calibration = check_images.calibration(predictor, opened, max_drop / 100) if int8 and opened else None
    with errors.status("exporting") as status:
        subject = Subject(predictor, run)
        done = exporting.export(
            subject,
            out,
            format,
            check,
            opset=opset,
            calibration=calibration,
            progress=lambda what: status.update(status_text(what)),
        )
        quicker = _kept(Path(run), subject, done, check.images[:1], before) if before else None
    if as_json:
        print_json(exporting.as_json(done) | {"predict_with": vars(quicker) if quicker else None})
        return
    echo(_described(done, check.told))
    if quicker is not None:
        engine = "the exported file in torch" if quicker.engine == "torch" else quicker.engine
        echo(
            f"predictions of the run now use {engine} on this machine, which is faster ({quicker.milliseconds:.2f} ms "
            f"an image): convwright predict {quoted(run)}"
        )


def load(run: str, weights: str | None, data: str | None) -> "tuple[Predictor, Dataset | None]":
    """Load a run, or a network with published weights, and the images that go with it, if there are any."""
    if weights is None:
        from convwright.prediction.network import load as load_run
        from convwright.training.run import Run
        from convwright.training.run_data import open_run_data

        if not Path(run).exists() and is_network(run):
            raise UsageError(f"{run} is a network, not a run directory; to give it weights, add --weights pretrained")
        predictor = load_run(run)
        return predictor, open_data(data, predictor) if data else open_run_data(Run.open(Path(run)))
    from convwright.prediction.pretrained import pretrained

    if (Path(run) / FILE).is_file():
        raise UsageError(f"{run} is a run and has weights of its own; leave --weights out")
    predictor = pretrained(read_network(run), weights)
    return predictor, open_data(data, predictor) if data else None


def open_data(spec: str, predictor: "Predictor") -> "Dataset":
    """Open images at a network's size."""
    from convwright.data import open_dataset
    from convwright.display.progress import counting

    with counting() as progress:
        return open_dataset(spec, resolution=predictor.resolution, progress=progress)


def _target(run: str, format: str | None, out: Path | None) -> tuple[str, Path]:
    """Settle format and file from what was said of either."""
    suffixes = {name: suffix for suffix, name in SUFFIXES.items()}
    if format is not None and format not in suffixes:
        raise UsageError(f"--format is {', '.join(suffixes)}, not {format!r}")
    if out is None:
        name = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(run).name)
        format = format or "onnx"
        return format, Path(name + suffixes[format])
    if format is None:
        if out.suffix not in SUFFIXES:
            raise UsageError(f"--out {out}: end it in {', '.join(SUFFIXES)}, or say the --format")
        format = SUFFIXES[out.suffix]
    if out.suffix != suffixes[format]:
        raise UsageError(f"--out {out}: a file in the format {format} ends in {suffixes[format]}")
    check_file("--out", out)
    return format, out


def _kept(
    run: Path, subject: "Subject", done: "Exported", image: "np.ndarray", before: dict[str, str]
) -> "EngineSelection | None":
    """Let the run predict with what was exported, where that is quicker than torch."""
    from convwright.engines.selection import keep_export
    from convwright.exporting.export import RUNS_FOR_TIME
    from convwright.timing import median_seconds

    reference = subject.reference
    return keep_export(run, done, 1000 * median_seconds(lambda: reference(image), at_least=RUNS_FOR_TIME), before)


def _described(done: "Exported", told: str) -> str:
    from convwright.arch.units import human_bytes

    lines = [
        f"{', '.join(map(str, done.files))}: {done.card.network}, {done.card.precision}, {human_bytes(done.bytes)}"
    ]
    lines.append(f"verified on {told}")
    for name, agreement in done.agreements.items():
        milliseconds = done.card.verified["engines"][name]["milliseconds"]
        lines.append(f"  {name}: {_agreement(agreement)}; {milliseconds:.2f} ms an image")
    lines += [f"  {name} could not run it and is not used for it: {why}" for name, why in done.problems.items()]
    if done.kept is not None:
        kept = ", ".join(done.kept.groups)
        lines.append(
            f"left in float: {kept} ({len(done.kept.layers)} operations)" if kept else "nothing was left in float"
        )
    return "\n".join(lines)


def _agreement(agreement: "Agreement") -> str:
    told = f"{agreement.same:.2%} of answers the same, logits within {agreement.difference:.1e} of an image's largest"
    if agreement.accuracy is None or agreement.lost is None:
        return told
    lost, low, high = (100 * value for value in agreement.lost)
    return f"{told}; accuracy {agreement.accuracy:.2%}, {lost:.2f} points lost (95 % interval {low:.2f} to {high:.2f})"
