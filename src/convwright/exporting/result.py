"""What an export gives: the files, how well each engine agrees, and how long an image takes in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from convwright.arch.resolution import sides
from convwright.display.result import Block, Lines, Paragraph, Result, Table
from convwright.display.wording import counted, short_milliseconds
from convwright.engines.card import Card
from convwright.engines.engine import COREML_SUFFIX, NOT_RUN
from convwright.engines.selection import EngineSelection
from convwright.exporting.agreement import Agreement
from convwright.exporting.quantization import FloatLayers
from convwright.units import human_bytes

TITLES = ("engine", "ms", "same class", "logits within", "accuracy", "lost (95 % interval)", "")
"""Columns of the table: median time of one image, share of images with the same class, largest difference of logits as
a share of an image's largest one, accuracy in percent, and percentage points of it that were lost."""
MULTI_LABEL_TITLES = ("engine", "ms", "same classes", "logits within", "mAP", "lost (95 % interval)", "")
"""Columns of a multi-label network: images with the same set of classes, and mean average precision."""


@dataclass(frozen=True)
class ExportResult(Result):
    """An exported file that was verified."""

    path: Path
    """The file."""
    files: tuple[Path, ...]
    """All files that were written: OpenVINO's weights are in a second one."""
    card: Card
    """What the file records about itself."""
    agreements: Mapping[str, Agreement]
    """How well each engine agrees with the original network, by name."""
    bytes: int
    """Size of all files."""
    float_layers: FloatLayers | None = None
    """What quantization left in float, and why; None for a file in float."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Installed engines that are not used for the file, and why."""
    selection: EngineSelection | None = None
    """The engine that predictions of the run use from now on, if this export made them faster."""
    source: str = ""
    """The run or network that was exported."""

    model_card: Path | None = None
    """The model card beside the file; None where none was written."""
    pushed: str = ""
    """Address on the Hugging Face Hub; empty if the file was not pushed."""

    @property
    def milliseconds(self) -> dict[str, float]:
        """Median time of one image by engine, with as many threads as cores."""
        return {name: check.milliseconds for name, check in self.card.verified.engines.items()}

    @property
    def tensor_shape(self) -> tuple[str | int, ...]:
        """Shape of the input of a file that takes a tensor; `N` stands for any number of images."""
        card, suffix = self.card, self.path.suffix
        if suffix == ".tflite":
            return ("N", *sides(card.resolution), card.channels)
        one = suffix in (".pte", COREML_SUFFIX) or (self.float_layers is not None and self.float_layers.one_image)
        return (1 if one else "N", card.channels, *sides(card.resolution))

    def to_dict(self) -> dict[str, object]:
        """Return files, size, precision, the record of the verification, and the engine that predictions use."""
        return {
            "file": str(self.path),
            "files": [str(path) for path in self.files],
            "model_card": None if self.model_card is None else str(self.model_card),
            "pushed": self.pushed or None,
            "bytes": self.bytes,
            "network": self.card.network,
            "precision": self.card.precision,
            "input": self.card.input,
            "outputs": list(self.card.outputs),
            "limits": self.card.limits.to_dict() if self.card.limits else None,
            "verified": self.card.verified.to_dict(),
            "max_drop": self.float_layers.max_drop if self.float_layers else None,
            "kept_in_float": list(self.float_layers.layers) if self.float_layers else [],
            "problems": dict(self.problems),
            "predict_with": self.selection.to_dict() if self.selection else None,
        }

    def blocks(self) -> Iterable[Block]:
        """Yield the files, a table of engines, and what is left in float."""
        files = ", ".join(map(str, self.files))
        yield Lines(
            f"{files}: {self.card.network}, {self.card.precision}, {human_bytes(self.bytes)}\n"
            f"verified on {self.card.verified.on}\n"
            f"input: {self.input_in_words()}"
        )
        yield Table(MULTI_LABEL_TITLES if self.card.multi_label else TITLES, [*self._rows()])
        if notes := list(self._notes()):
            yield Lines("\n".join(notes))
        if left := self.float_layers:
            groups = ", ".join(left.groups)
            yield Paragraph("\n".join(f"{name}: {left.finding(found)}" for name, found in self.agreements.items()))
            yield Lines(
                f"left in float: {groups} ({counted(len(left.layers), 'operation')})"
                if groups
                else "nothing was left in float"
            )
        if self.selection is not None:
            in_torch = self.selection.engine == "torch"
            engine = "the exported file in torch" if in_torch else self.selection.engine
            yield Lines(
                f"predictions of the run now use {engine} on this machine, which is faster "
                f"({self.selection.milliseconds:.2f} ms an image): `cw.predict({str(self.source)!r})`"
            )

    def _notes(self) -> Iterable[str]:
        """Yield lines on the activation map, the model card, and what the network does not know."""
        differences = {
            name: check.details["map_difference"]
            for name, check in self.card.verified.engines.items()
            if "map_difference" in check.details
        }
        if differences:
            found = ", ".join(f"{name} {share:.0e}" for name, share in differences.items())
            yield f"activation map: largest difference to torch's, as a share of its largest value: {found}"
        if self.model_card is not None:
            yield f"model card: {self.model_card}" + (f"; both are on the Hub: {self.pushed}" if self.pushed else "")
        if self.float_layers and self.float_layers.one_image:
            yield (
                "the file takes one image at a time: where the number of images is open, OpenVINO computes other "
                "values for this network in 8 bits"
            )
        if self.path.suffix == COREML_SUFFIX:
            yield f"{NOT_RUN}: its operations and weights were read back and computed in torch"
        if limits := self.card.limits:
            yield (
                f"temperature {limits.temperature:.3g}: calibration error {limits.error_before:.1%} before, "
                f"{limits.error_after:.1%} after; prediction sets from "
                f"{counted(limits.images, 'validation image')}"
                + (": in the card" if self.path.suffix == COREML_SUFFIX else ": `coverage` of predict")
            )

    def input_in_words(self) -> str:
        """Return what the file takes, and how well its resizing agrees with that of training."""
        card = self.card
        if self.path.suffix == COREML_SUFFIX and card.channels in (1, 3):
            height, width = sides(card.resolution)
            return f"{'an RGB' if card.channels == 3 else 'a grey'} image of {height} x {width} pixels"
        if card.input == "tensor":
            return f"uint8, {' x '.join(map(str, self.tensor_shape))}"
        checks = (check.details.get("whole_difference") for check in card.verified.engines.values())
        largest = max((found for found in checks if isinstance(found, float)), default=0.0)
        beside = f"within {largest:.0e} of" if largest else "as with"
        return f"an image of any size, uint8, 1 x H x W x 3 (probabilities {beside} Pillow's resizing)"

    def _rows(self) -> Iterable[Sequence[str]]:
        times = self.milliseconds
        for name, found in self.agreements.items():
            accuracy = "-" if found.accuracy is None else f"{found.accuracy:.2%}"
            lost = "-"
            if found.lost is not None:
                points, low, high = (100 * value for value in found.lost)
                lost = f"{points:.2f} ({low:.2f} to {high:.2f})"
            yield (
                name,
                short_milliseconds(times[name] / 1000) if name in times else "-",
                f"{found.same:.2%}",
                f"{found.difference:.1e}",
                accuracy,
                lost,
                "",
            )
        for name, problem in self.problems.items():
            yield name, *"-----", f"not used: {problem}"
