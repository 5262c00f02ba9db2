"""A network as an exported file, with a card that has checksums. The file is not verified here."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convwright.data.framing import Framing
from convwright.engines.card import CHECKSUM_PLACEHOLDER, KEY, WEIGHTS_PLACEHOLDER, Card
from convwright.engines.checksum import weights_file
from convwright.engines.engine import COREML_SUFFIX
from convwright.engines.torch_file import torch_file
from convwright.engines.trailer import with_trailer
from convwright.errors import ConvwrightError, UsageError
from convwright.exporting.image_input import preprocessing
from convwright.exporting.joining import After, join_onnx, join_openvino
from convwright.exporting.litert_writer import litert_file, litert_model
from convwright.exporting.onnx_writer import OPSET, onnx_model, put_card
from convwright.exporting.quantization import Calibration, FloatLayers, quantized
from convwright.exporting.subject import Subject
from convwright.extras import require_package
from convwright.files import digest, digest_of, write_bytes
from convwright.stats.ood import OodModel

FORMATS = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "torch": ".safetensors",
    "litert": ".tflite",
    "executorch": ".pte",
    "coreml": COREML_SUFFIX,
}
"""Formats that can be written, and the suffix of their files."""
NETWORK_ALONE = ("torch", "litert", "executorch", "coreml")
"""Formats whose files hold the network alone: their input is a tensor, and logits are their only output."""
FORMAT_OF = {suffix: name for name, suffix in FORMATS.items()}
TRAILED = ("litert", "executorch")
"""Formats whose files have the card after their end."""
FOR_PHONES = (*TRAILED, "coreml")
"""Formats that runs do not predict with: their files lack out-of-distribution scores, or do not run here."""
OPERATION_BYTES = 2**14
"""What OpenVINO writes of an operation without weights is shorter than this."""
Progress = Callable[[str], None]
"""Gets a short description of each step."""


@dataclass(frozen=True)
class Draft:
    """A network in memory in a format, and how it is written with a card."""

    model: Any
    """The model of ONNX or OpenVINO; of torch, the program; of LiteRT and ExecuTorch, the content of the file."""
    format: str
    card: Card
    float_layers: FloatLayers | None = None
    """What quantization left in float; None for a network in float."""
    ood: OodModel | None = None
    """What the out-of-distribution score is computed from, in the format torch; other formats have it in the model."""

    def content(self, path: Path, card: Card) -> bytes:
        """Return the content of the file at a path; a second file (OpenVINO's .bin) is written beside it."""
        if self.format == "torch":
            return torch_file(self.model, card, self.ood)
        if self.format == "onnx":
            return _onnx_file(self.model, card)
        if self.format in TRAILED:
            return with_trailer(self.model, card)
        return _openvino_file(require_package("openvino", "the format openvino"), self.model, card, path)


def draft(
    subject: Subject,
    format: str,
    *,
    folder: Path,
    opset: int | None = None,
    calibration: Calibration | None = None,
    progress: Progress = lambda _: None,
) -> Draft:
    """Convert a network into a format, with tensors as its input.

    Args:
        subject: The network.
        format: One of `FORMATS`.
        folder: Folder for temporary files.
        opset: ONNX opset; None: 17.
        calibration: Images to calibrate 8 bits on; None: the network stays in float.
        progress: Gets a description of each step.
    """
    card, left = subject.card, None
    if format == "torch":
        return Draft(subject.eager_program, format, card)
    if format in TRAILED:
        model, left = _content(subject, format, calibration, folder, progress)
        return Draft(model, format, card if left is None else replace(card, precision="int8"), left)
    model = onnx_model(subject.program, card, OPSET if opset is None else opset)
    if format == "openvino":
        openvino = require_package("openvino", "the format openvino")
        del model.metadata_props[:]  # OpenVINO would keep this card beside the card of the verified file
        model = openvino.Core().read_model(io.BytesIO(model.SerializeToString()))
    if calibration is not None:
        model, left = quantized(model, format, calibration, folder, progress)
        card = replace(card, precision="int8")
    return Draft(model, format, card, left)


def _content(
    subject: Subject, format: str, calibration: Calibration | None, folder: Path, progress: Progress
) -> tuple[bytes, FloatLayers | None]:
    """Return the content of a LiteRT or ExecuTorch file without a card, and what quantization left in float.

    Raises:
        ConvwrightError: The package of the format cannot convert the network.
    """
    try:
        return _converted(subject, format, calibration, folder, progress)
    except (ConvwrightError, OSError):
        raise
    except Exception as error:  # compilers have errors of many kinds for networks that they do not support
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        first = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
        raise ConvwrightError(f"the network cannot be written in the format {format}: {first:.200}") from error


def _converted(
    subject: Subject, format: str, calibration: Calibration | None, folder: Path, progress: Progress
) -> tuple[bytes, FloatLayers | None]:
    left = None
    if format == "litert":
        content = litert_file(litert_model(subject.program))
        if calibration is not None:
            content, left = quantized(content, format, calibration, folder, progress)
        return content, left
    from convwright.exporting.executorch_writer import executorch_file, retraced, traced

    if calibration is None:
        return executorch_file(traced(subject.program)), None
    model, left = quantized(subject.program, format, calibration, folder, progress)
    progress("writing the quantized network")
    return executorch_file(retraced(model, subject.program)), left


def with_parts(made: Draft, after: Sequence[After], *, image: bool) -> Draft:
    """Return a network with further outputs, and with an image of any size as its input.

    Args:
        made: The network alone.
        after: Parts with further outputs.
        image: Whether the input becomes an image of any size, which is cropped and resized as in training.
    """
    card = made.card
    outputs = (*card.outputs, *(name for part in after for name, _, _ in part.outputs))
    before = None
    if image:
        framing = Framing(**{name: getattr(card, name) for name in Framing._fields})
        before = preprocessing(card.resolution, card.channels, framing)
    join = join_onnx if made.format == "onnx" else join_openvino
    card = replace(card, input="image" if image else "tensor", outputs=outputs)
    return replace(made, model=join(made.model, before, after), card=card)


def write_draft(made: Draft, path: Path, card: Card) -> Card:
    """Write a file whose card has checksums of the file and of its weights.

    Args:
        made: The network in the file's format.
        path: File to write, in a folder that no other process uses.
        card: Card without checksums.

    Returns:
        The card as it stands in the file.

    Raises:
        ConvwrightError: The file could not be written.
    """
    weights = weights_file(path)
    marked = replace(card, weights_checksum=WEIGHTS_PLACEHOLDER if weights else "", checksum=CHECKSUM_PLACEHOLDER)
    content = made.content(path, marked)
    for name in (CHECKSUM_PLACEHOLDER, WEIGHTS_PLACEHOLDER) if weights else (CHECKSUM_PLACEHOLDER,):
        if content.count(name.encode()) != 1:
            raise UsageError(f"{path}: no class and no layer can be named {name!r}; rename it")
    if weights:
        card = replace(card, weights_checksum=digest(weights))
        content = content.replace(WEIGHTS_PLACEHOLDER.encode(), card.weights_checksum.encode())
    card = replace(card, checksum=digest_of(content))
    write_bytes(path, content.replace(CHECKSUM_PLACEHOLDER.encode(), card.checksum.encode()))
    return card


def write_unverified(subject: Subject, path: Path, *, calibration: Calibration | None = None) -> Card:
    """Write a network in the format of a file's suffix, without comparing the file with the network.

    Args:
        subject: The network.
        path: File to write, in a folder that no other process uses.
        calibration: Images to calibrate 8 bits on; None: the network stays in float.

    Returns:
        The card in the file.
    """
    made = draft(subject, FORMAT_OF[path.suffix], folder=path.parent, calibration=calibration)
    return write_draft(made, path, made.card)


def _onnx_file(model: Any, card: Card) -> bytes:
    put_card(model, card)
    content: bytes = model.SerializeToString()
    return content


def _openvino_file(openvino: Any, model: Any, card: Card, path: Path) -> bytes:
    """Write the weights beside a path and return the content of the file itself."""
    model.set_rt_info(card.to_json_text(), [KEY])
    try:
        openvino.save_model(model, str(path), compress_to_fp16=False)
    except RuntimeError as error:
        ops = model.get_ordered_ops()
        weights = sum(op.get_byte_size() for op in ops if op.get_type_name() == "Constant")
        # OpenVINO gives no reason; writing as many bytes once more makes the system give it.
        write_bytes(path, bytes(weights + len(ops) * OPERATION_BYTES))
        raise ConvwrightError(f"{path} could not be written: {error}") from None
    return path.read_bytes()
