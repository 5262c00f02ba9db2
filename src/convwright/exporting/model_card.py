"""The model card beside an exported file, with the metadata of the Hugging Face Hub, and both on the Hub."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from convwright.engines.card import Card
from convwright.engines.engine import COREML_SUFFIX, NOT_RUN
from convwright.engines.parts import (
    ENERGY,
    EXPLAINED_CLASS,
    IMAGE,
    KNOWN,
    LOGITS,
    MAP,
    OOD_SCORE,
    PIXELS,
    PREDICTION_SET,
    PROBABILITIES,
)
from convwright.exporting.result import ExportResult
from convwright.extras import require_package
from convwright.files import write_text
from convwright.prediction.hub import errors_of_hub, parse_address
from convwright.printable import in_markdown

NAME = "README.md"
LIBRARY = "library_name: convwright"
"""Line of the metadata by which a card of Convwright is recognised."""
CLASSES_SHOWN = 100
MEANINGS = {
    LOGITS: "scores, N x classes",
    MAP: f"class activation map of the predicted class, or of the class given as input `{EXPLAINED_CLASS}`",
    PROBABILITIES: "calibrated probabilities, N x classes",
    PREDICTION_SET: "whether each class belongs to the set that contains the true class in 90 % of cases",
    ENERGY: "energy of the logits: high for images unlike those trained on",
    OOD_SCORE: "out-of-distribution score: how unlike training images the image is, by its features and logits",
    KNOWN: "whether the image is as like the training images as 95 % of validation images",
}
"""What each output is."""


def write_model_card(done: ExportResult, tested: str = "", note: str = "") -> Path:
    """Write the model card of an exported file beside it; return its path.

    It is called README.md, unless a README.md that is not this file's card is there already: then FILE.README.md.

    Args:
        done: The export.
        tested: Sentence in Markdown on the accuracy on test images; empty where it is not known.
        note: Sentence on other files; empty where there are none.
    """
    path = done.path.with_name(NAME)
    if path.exists():
        text = path.read_text(encoding="utf-8", errors="replace")
        if LIBRARY not in text or f"\n`{done.path.name}`: " not in text:
            path = done.path.with_name(f"{done.path.name}.{NAME}")
    write_text(path, model_card(done, tested, note))
    return path


def push(done: ExportResult, card: Path, address: str) -> str:
    """Upload an exported file and its model card to the Hugging Face Hub; return the address of the page.

    Args:
        done: The export.
        card: The model card.
        address: `hf://user/name`; the repository is made where there is none.

    Raises:
        ConvwrightError: The Hub cannot be reached or does not allow it.
    """
    repository, _ = parse_address(address, "push")
    hub = require_package("huggingface_hub", "`push`")
    files = {**{name: path for path in done.files for name, path in _names_and_files(path)}, NAME: card}
    with errors_of_hub(address):
        api = hub.HfApi()
        api.create_repo(repository, exist_ok=True)
        operations = [hub.CommitOperationAdd(name, str(path)) for name, path in files.items()]
        api.create_commit(repository, operations, commit_message=f"Add {done.path.name}, exported by Convwright")
    return address


def _names_and_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield a file with its name, or the files in a Core ML package with their names in it."""
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    yield from ((file.relative_to(path.parent).as_posix(), file) for file in inside if file.is_file())


def model_card(done: ExportResult, tested: str = "", note: str = "") -> str:
    """Return the text of a model card, Markdown with metadata in YAML.

    Args:
        done: The export.
        tested: Sentence in Markdown on the accuracy on test images; empty where it is not known.
        note: Sentence on other files; empty where there are none.
    """
    card = done.card
    metadata = {
        "library_name": "convwright",
        "pipeline_tag": "image-classification",
        "tags": ["convwright", "image-classification", done.path.suffix.lstrip("."), card.network.partition("|")[0]],
    }
    accuracy = [*filter(None, [tested]), *_accuracy(done), *filter(None, [note])]
    if tested or any(found.accuracy is not None for found in done.agreements.values()):
        metadata["metrics"] = ["accuracy"]
    lines = [
        "---",
        yaml.safe_dump(metadata, sort_keys=False).strip(),
        "---",
        "",
        f"# {in_markdown(done.path.stem)}",
        "",
    ]
    lines += [f"`{done.path.name}`: {card.network}, {len(card.classes)} classes, {card.precision}.", ""]
    lines += [line for sentence in accuracy for line in (sentence, "")]
    return "\n".join([*lines, *_usage(done), *_inputs(done), *_limits(card), *_classes(card), *_verified(card)]) + "\n"


def _accuracy(done: ExportResult) -> list[str]:
    for found in done.agreements.values():
        if found.accuracy is not None:
            interval = f" (95 % interval {found.interval[0]:.2%} to {found.interval[1]:.2%})" if found.interval else ""
            on = in_markdown(done.card.verified.on)
            return [f"{found.measure.capitalize()} {found.accuracy:.2%}{interval} on {on}."]
    return []


def _usage_in_core_ml(done: ExportResult) -> Iterator[str]:
    stem = done.path.stem
    yield from ("## Use", "", "Add the package to a project in Xcode, which makes a class of its name, or load it:", "")
    yield from ("```swift", f'let url = try await MLModel.compileModel(at: URL(filePath: "{done.path.name}"))')
    yield "let model = try VNCoreMLModel(for: MLModel(contentsOf: url))"
    yield "let request = VNCoreMLRequest(model: model)  // its result is an array, logits"
    if done.card.resize == "crop" and done.card.crop == 1:
        yield "request.imageCropAndScaleOption = .centerCrop"
    yield from ("```", "", f"The classes are in the metadata of {stem}, as JSON under `classes`.", "")


def _usage(done: ExportResult) -> Iterator[str]:
    if done.path.suffix == COREML_SUFFIX:
        yield from _usage_in_core_ml(done)
        return
    yield from ("## Use", "", "```python", "import convwright as cw", "")
    yield from (f'cw.load("{done.path.name}").predict("image.jpg")', "```", "")
    if done.card.input != "image" or done.path.suffix == ".safetensors":
        return
    engine = "onnxruntime" if done.path.suffix == ".onnx" else "openvino"
    output = PROBABILITIES if PROBABILITIES in done.card.outputs else LOGITS
    yield from ("Without Convwright:", "", "```python", "import numpy as np", f"import {engine}")
    yield from ("from PIL import Image, ImageOps", "")
    yield 'image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGBA")'
    yield 'white = Image.new("RGBA", image.size, "white")  # behind transparent parts'
    yield 'image = Image.alpha_composite(white, image).convert("RGB")'
    if engine == "onnxruntime":
        further = ""
        if MAP in done.card.outputs:
            yield "options = onnxruntime.SessionOptions()"
            yield f"options.log_severity_level = 3  # no warning that `{EXPLAINED_CLASS}` has a default"
            further = ", options"
        yield f'session = onnxruntime.InferenceSession("{done.path.name}"{further})'
        yield f'({output},) = session.run(["{output}"], {{"{IMAGE}": np.asarray(image)[None]}})'
    else:
        yield f'model = openvino.Core().compile_model("{done.path.name}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})'
        further = f', "{EXPLAINED_CLASS}": np.array([-1])' if MAP in done.card.outputs else ""
        yield f'{output} = model({{"{IMAGE}": np.asarray(image)[None]{further}}})["{output}"]'
    yield from ("```", "")


def _inputs(done: ExportResult) -> Iterator[str]:
    card = done.card
    yield from ("## Input and outputs", "")
    if card.input == "image":
        yield f"- Input `{IMAGE}`: uint8, 1 x height x width x 3, RGB, any size; cropped, resized, normalised inside."
        yield "- OpenVINO needs `INFERENCE_PRECISION_HINT` `f32`, as its default may ruin the resizing."
    else:
        size = " x ".join(map(str, done.tensor_shape))
        colors = "RGB" if card.channels == 3 else "grey"
        taken = done.input_in_words() if done.path.suffix == COREML_SUFFIX else f"uint8, {size}, {colors}"
        yield f"- Input `{PIXELS}`: {taken}; the file normalises it."
    function = "sigmoid" if card.multi_label else "softmax"
    divided = f" / {card.limits.temperature:.4g}" if card.limits else ""
    meanings = MEANINGS | {LOGITS: f"{MEANINGS[LOGITS]}; probabilities are the {function} of logits{divided}"}
    yield from (f"- Output `{name}`: {meanings.get(name, 'further output')}." for name in card.outputs)
    yield ""


def _limits(card: Card) -> Iterator[str]:
    if (limits := card.limits) is None:
        return
    yield from ("## Limits", "")
    yield f"Fitted on {limits.images} held-out images:"
    yield ""
    yield f"- Temperature {limits.temperature:.3g}: expected calibration error {limits.error_before:.2%} before,"
    yield f"  {limits.error_after:.2%} after."
    yield f"- A class belongs to the 90 % prediction set from a calibrated probability of {limits.threshold(0.9):.3g}."
    yield "  The set contains the true class in 90 % of cases, over images like the held-out ones."
    score, most = ("energy", limits.energy) if limits.ood_score is None else (OOD_SCORE, limits.ood_score)
    yield f"- Images whose `{score}` is above {most:.3g} are unlike those that the network was trained on."
    yield ""


def _classes(card: Card) -> Iterator[str]:
    shown = ", ".join(in_markdown(repr(name)) for name in card.classes[:CLASSES_SHOWN])
    more = len(card.classes) - CLASSES_SHOWN
    yield from ("## Classes", "", shown + (f" and {more} more (in the file's card)" if more > 0 else ""), "")


def _verified(card: Card) -> Iterator[str]:
    yield from ("## Verified", "", f"On {in_markdown(card.verified.on)}, against the network in torch:", "")
    if not card.verified.engines:
        yield f"Its operations, read back and computed in torch, agree with the network. It was {NOT_RUN}."
        return
    yield from ("| engine | ms for one image (network alone) | same class |", "|---|--:|--:|")
    for name, check in card.verified.engines.items():
        same = check.details.get("same")
        share = f"{same:.2%}" if isinstance(same, int | float) else "-"
        yield f"| {name} | {check.milliseconds:.2f} | {share} |"
