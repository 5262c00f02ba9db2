"""The configuration of a training run: everything that its result depends on, and nothing else."""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from convwright.arch.resolution import SIZE, Resolution, parse_resolution
from convwright.checksums import verify
from convwright.data.framing import Duplicates, Resize
from convwright.errors import ArgumentError
from convwright.options import Flags, Group, Option, option_of
from convwright.seeds import LARGEST_SEED
from convwright.training.field_errors import validated
from convwright.training.problems import REASON
from convwright.training.yaml_text import read_yaml

OWN_NETWORK = "network.json"
"""Network of a configuration that no expression describes, or that was read from a file: that in the run directory."""
INITIAL_WEIGHTS = "initial.safetensors"
"""File in the run directory with the weights that training started from, where they were not random."""
TEACHER_WEIGHTS = "teacher.safetensors"
"""File in the run directory with the network whose predictions are learnt, if there is one."""

STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
AUGMENTATION = Group("Augmentation of training images")
INITIAL = Group("Initial weights")
DISTILLATION = Group("Distillation")
FOLDS = Group("Cross-validation")
LISTS = Group("Columns of a list of images")


PrecisionName = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Number formats of training, by Lightning's names."""


def _image_size(value: object) -> Resolution:
    try:
        return parse_resolution(value)
    except ValueError as error:
        raise PydanticCustomError(REASON, "{reason}", {"reason": str(error)}) from None


ImageSize = Annotated[Resolution, BeforeValidator(_image_size), SIZE]
"""A resolution, from a number, a text such as 160x320 or a pair of numbers."""


class _Strict(BaseModel):
    """Fields with the types that they are declared with, checked as arguments of functions are."""

    @field_validator("*", mode="before")
    @classmethod
    def _check_value(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse text for numbers, numbers for text or booleans, and so on; convert NumPy's numbers."""
        option = _option_of_field(cls, str(info.field_name))
        if option.form or option.foreign:  # checked by the field's own type
            return value
        try:
            value = option.plain(value)
            option.check(value)
        except ArgumentError as error:
            raise PydanticCustomError(REASON, "{reason}", {"reason": error.reason}) from None
        return value


@cache
def _option_of_field(model: type[BaseModel], name: str) -> Option:
    field = model.model_fields[name]
    return option_of(name, field.annotation, None, "", field.metadata)


class Recipe(_Strict):
    """How weights are learnt. Rates hold for the batch size of the run."""

    model_config = STRICT

    optimizer: Literal["sgd", "adamw", "rmsprop", "muon"] = "sgd"
    """Optimizer. `muon` orthogonalises the gradients of convolutions and of linear layers before the classifier. SGD
    trains the first convolution, grouped convolutions, the classifier, biases and normalisations, at 4 times the
    learning rate."""
    learning_rate: Annotated[float, Flags(("--learning-rate", "--lr"))] = Field(0.1, gt=0, le=1e30)
    """Highest learning rate of the schedule. By default that of the recipe; without a recipe, for a batch of 128, 0.1
    with SGD, 0.004 with AdamW, 0.002 with RMSprop and 0.05 with Muon. With initial `weights` that are frozen at first,
    AdamW has 0.008; with initial `weights` that are not, SGD has 0.02, AdamW and RMSprop 0.0004, and Muon 0.005. These
    are in proportion to the batch size."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD, RMSprop and Muon; the first beta of AdamW."""
    nesterov: bool = True
    """Nesterov's momentum in SGD and Muon."""
    weight_decay: float = Field(5e-4, ge=0, le=1e30)
    """Weight decay, on the weights of convolutions and linear layers only, and with AdamW and Muon apart from the
    gradients. By default that of the recipe; without one 5e-4, and 0.005 with Muon."""
    schedule: Literal["one-cycle", "cosine", "step", "exponential", "constant"] = "one-cycle"
    """Learning rate as a function of the step."""
    milestones: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Flags(("--milestone",))] = (0.5, 0.75)
    """Shares of all steps after which the schedule `step` divides the rate by ten."""
    warm_up: float = Field(0.2, ge=0, lt=1)
    """Share of all steps in which the rate rises linearly."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label that is spread over all classes."""
    class_weights: Literal["none", "balanced", "effective"] = "none"
    """Weight of an image in the loss, 1 on average: `balanced`, inverse to the number of images of its class;
    `effective`, inverse to their effective number, which grows more slowly (`effective_beta`)."""
    effective_beta: float = Field(0.999, ge=0, lt=1)
    """Base of the effective number of n images, (1 - beta^n) / (1 - beta); near 1 the weights are those of
    `balanced`, at 0 all are 1."""
    focal: float = Field(0.0, ge=0, le=100)
    """Exponent of the focal loss, which gives less weight to images that are predicted well; 0: cross-entropy."""
    distillation: Annotated[float, DISTILLATION] = Field(0.5, gt=0, le=1)
    """Share of the loss that compares predictions with those of `teacher`; the labels have the rest."""
    temperature: Annotated[float, DISTILLATION] = Field(4.0, gt=0, le=1000)
    """Divisor of the logits of network and teacher; the larger, the more unlikely classes count."""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """Images of an epoch: `uniform`, each once; `balanced`, those of each class equally often."""
    accumulate: int = Field(1, ge=1, le=1_000_000)
    """Pieces into which a batch is cut, so that a step takes less memory; their gradients are added up."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay by step of the moving average of weights that is validated and kept; 0: no average."""
    patience: int | None = Field(None, ge=1, le=1_000_000)
    """Stop after this many validations without a better one, not counting those of a frozen start; by default training
    does not stop early."""
    progressive: float = Field(0.0, ge=0, le=1)
    """Share of all steps in which the images grow from half their size to all of it; 0: they do not grow."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout rate before the classifier; the network's own by default."""
    freeze: Annotated[bool, INITIAL] = False
    """Train the classifier alone; the other weights stay as `weights` gives them."""
    freeze_epochs: Annotated[float, INITIAL] = Field(0.0, ge=0, le=1e6)
    """Train the classifier alone for this many epochs, on features that are computed once, before the other weights."""
    unfrozen_rate: Annotated[float, INITIAL] = Field(0.1, gt=0, le=1)
    """Highest learning rate after `freeze_epochs`, as a share of that before."""
    backbone_rate: Annotated[float, INITIAL] = Field(1.0, gt=0, le=1)
    """Learning rate of all but the classifier, as a share of the classifier's."""
    layer_decay: Annotated[float, INITIAL] = Field(1.0, gt=0, le=1)
    """Learning rate of each stage, as a share of that of the stage after it."""
    freeze_norm: Annotated[bool, INITIAL] = False
    """Keep the running mean and variance of batch normalisations as `weights` gives them."""
    stochastic_depth: float | None = Field(None, ge=0, lt=1)
    """Rate at which the last residual branch is skipped, less before it; the network's own by default."""
    clip_norm: float | None = Field(None, gt=0, le=1e30)
    """Largest norm of the gradient; by default gradients are not clipped."""
    norm_momentum: float | None = Field(0.1, gt=0, le=1)
    """Momentum of all batch normalisations; null in YAML keeps the network's own (EfficientNet: 0.01)."""
    crop: Annotated[int, AUGMENTATION] = Field(0, ge=0, le=10_000)
    """Random crop after padding by this many pixels; an eighth of the resolution by default, none with `crop_scale`."""
    crop_scale: Annotated[float, AUGMENTATION] = Field(0.0, ge=0, le=1)
    """Smallest share of the image's area that a random resized crop shows; 0: no such crops. They are cut from images
    of up to twice the resolution, where the files have as much."""
    crop_ratio: Annotated[float, AUGMENTATION] = Field(4 / 3, ge=1, le=10)
    """Most by which width over height of a random resized crop differs from that of the image, as a factor."""
    rotation: Annotated[float, AUGMENTATION] = Field(0.0, ge=0, le=180)
    """Degrees by which each image is turned at random, at most, in either direction."""
    brightness: Annotated[float, AUGMENTATION] = Field(0.0, ge=0, le=10)
    """Multiply the brightness of each image by a factor from 1 - brightness to 1 + brightness."""
    contrast: Annotated[float, AUGMENTATION] = Field(0.0, ge=0, le=10)
    """Multiply the contrast of each image by a factor from 1 - contrast to 1 + contrast."""
    saturation: Annotated[float, AUGMENTATION] = Field(0.0, ge=0, le=10)
    """Multiply the saturation of each image by a factor from 1 - saturation to 1 + saturation."""
    hue: Annotated[float, AUGMENTATION] = Field(0.0, ge=0, le=0.5)
    """Turn the hues of each image by -hue to hue, as a share of the circle of hues; 0.5 is half of it."""
    flip: Annotated[bool, AUGMENTATION] = False
    """Mirror each training image with probability 0.5; by default where a mirrored image keeps its class."""
    randaugment: Annotated[int, AUGMENTATION] = Field(0, ge=0, le=30)
    """Magnitude of two random operations on each image (RandAugment); 0: none."""
    trivialaugment: Annotated[bool, AUGMENTATION] = False
    """Change each image by one random operation of random strength (TrivialAugment)."""
    erasing: Annotated[float, AUGMENTATION] = Field(0.0, ge=0, le=1)
    """Share of the images of which a rectangle is erased."""
    mixup: Annotated[float, AUGMENTATION] = Field(0.0, ge=0, le=1e6)
    """Mix each image with another, by a share from Beta(mixup, mixup); 0: no mixing."""
    cutmix: Annotated[float, AUGMENTATION, Flags(("--cutmix",))] = Field(0.0, ge=0, le=1e6)
    """Paste a rectangle of another image, its area from Beta(cutmix, cutmix); 0: no pasting."""


class RunOptions(_Strict):
    """Options of a run that stand both in a request and in the configuration made from it."""

    model_config = STRICT

    weights: Annotated[str | None, INITIAL] = None
    """Initial weights: `pretrained`, `torchvision`, `timm`, a file or a run; chosen with the network by default, or
    random where the network is given."""
    teacher: Annotated[str | None, DISTILLATION] = None
    """A run with the same classes, whose predictions are learnt beside the labels; its network may be larger and read
    images of another size."""
    epochs: float = Field(10, gt=0, le=1e6)
    """Passes over the training images, after those of `freeze_epochs`; 10 by default, fewer from pretrained weights; a
    fraction is allowed."""
    seed: int = Field(0, ge=-LARGEST_SEED, le=LARGEST_SEED)
    """Seed of initial weights, order, augmentation and noise."""
    split_seed: int | None = Field(None, ge=-LARGEST_SEED, le=LARGEST_SEED)
    """Seed of the split into training and validation images, where the data has none; that of the run by default."""
    val_share: float = Field(0.1, gt=0, lt=1)
    """Share of the training images to validate on, where the data has no validation images; 0.1 by default."""
    duplicates: Duplicates = "together"
    """Images with equal pixels: together, all to train on or all to validate on, where the data has no validation
    images; or apart, as they are drawn; together by default."""
    folds: Annotated[int | None, FOLDS] = Field(None, ge=2, le=1000)
    """Folds of the training and validation images for cross-validation: a run for each fold, which validates it."""
    fold: Annotated[int | None, FOLDS] = Field(None, ge=1, le=1000)
    """Train only the run that is validated on this fold, from 1 to `folds`."""
    resize: Resize = "crop"
    """How images of other proportions are resized: crop (the short side fits, and the centre is cut), pad (grey borders
    are added) or squash (the proportions change); crop by default."""
    max_bad: float = Field(0.1, ge=0, le=1)
    """Largest share of unreadable files, which are skipped and listed; above it the data is refused; 0.1 by default."""
    path_column: Annotated[str | None, LISTS] = None
    """Column of a list with the images' paths; by default `path`, `file`, `image` or a similar name."""
    label_column: Annotated[str | None, LISTS] = None
    """Column of a list with the classes; by default `label`, `class`, `category` or a similar name."""
    split_column: Annotated[str | None, LISTS] = None
    """Column of a list with `train`, `val` or `test`; by default `split` or a similar name, if there is one."""
    group_column: Annotated[str | None, LISTS] = None
    """Column of a list whose equal values stay in one split; by default `group`, if there is one."""
    weight_column: Annotated[str | None, LISTS] = None
    """Column of a list with the images' weights in the loss; by default `weight`, if there is one."""
    label_separator: Annotated[str | None, LISTS] = None
    """Text between several labels in a cell of a list, and empty where a cell is one label; by default `|` or `;` where
    the parts are labels of other images too."""
    devices: int = Field(1, ge=1, le=10_000)
    """Processes that share each batch: GPUs, or parts of a CPU; 1 by default."""
    sync_norm: bool = True
    """Batch normalisation over the images of all devices, by default; otherwise each device normalises its share of a
    batch, and they exchange far less."""
    precision: PrecisionName = "32-true"
    """Number format of training: 32 bits; or bfloat16 or, for GPUs, float16 where they are exact enough. With float16
    the loss is scaled, and steps whose gradient overflows are skipped."""
    tf32: bool = True
    """Let convolutions of NVIDIA GPUs read 32-bit numbers with a mantissa of 10 bits (TF32), by default, which is
    several times as fast; without effect elsewhere."""
    compile: bool = False
    """Train the network as torch.compile compiles it, which takes a minute or more at first; for GPUs, or with a C++
    compiler."""
    cuda_graphs: bool = False
    """Record the operations of a compiled step on an NVIDIA GPU, and replay them at once (CUDA graphs), which is faster
    for small networks and batches."""
    fused: bool = False
    """Operators compiled for this machine's CPU, which round differently; by default where they are at least as fast as
    torch's, which is measured once."""
    memory_efficient: bool = False
    """Keep less for the backward pass and compute it again there: dense blocks take far less memory; by default where
    they would not fit otherwise."""


class TrainConfig(RunOptions):
    """A resolved, re-runnable configuration: `convwright train --config config.yaml` repeats the run."""

    data: str
    """A folder, or the name of a built-in data set."""
    network: str
    """An expression, or the file of a network."""
    resolution: ImageSize
    """Side of the images in pixels, or height and width."""
    batch_size: int = Field(128, ge=1, le=1_000_000)
    """Images in a step."""
    recipe: Recipe = Recipe()
    schema_version: Literal[1, 2] = 2
    """Version of the format. Runs of version 1 have no `duplicates`, which were apart."""

    @property
    def total_epochs(self) -> float:
        """Passes over the training images: of all weights, and before that of the classifier alone."""
        return self.epochs + self.recipe.freeze_epochs

    @property
    def data_seed(self) -> int:
        """Seed of the split into training and validation images."""
        return self.seed if self.split_seed is None else self.split_seed

    def to_yaml(self) -> str:
        """Return the configuration as YAML that `from_yaml` reads back, each value on one line."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=math.inf)

    @classmethod
    def from_yaml(cls, path: Path) -> "TrainConfig":
        """Read a configuration. UsageError names the file, the field and what would be right."""
        verify(path)
        return stored_config(read_yaml(path), str(path))


def checked(values: Mapping[str, Any], source: str = "") -> TrainConfig:
    """Validate values into a configuration.

    Raises:
        FieldError: A field has a wrong value; `SeveralErrors` for several.
    """
    return validated(TrainConfig, values, source)


def stored_config(values: Mapping[str, Any], source: str) -> TrainConfig:
    """Validate the values of a file, of any version, into a configuration.

    Args:
        values: Values by field.
        source: The file, for messages.

    Raises:
        FieldError: The first field with a wrong value.
    """
    if values.get("schema_version", 1) == 1:
        values = {"duplicates": "apart", **values, "schema_version": 2}
    return checked(values, source)


def difference(before: dict[str, Any], after: dict[str, Any], within: str = "") -> str:
    """Return the first field in which two dumped configurations differ: "seed is 1, and the run began with 0"."""
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            if found := difference(one, other, f"{within}{name}."):
                return found
        elif one != other:
            return f"{within}{name} is {other!r}, and the run began with {one!r}"
    return ""
