"""What a training run is asked to do: everything that its result depends on, and nothing else."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from convwright.checksums import verify
from convwright.errors import UsageError

MOST_NESTED = 20
"""Levels of nesting in a YAML file; a configuration has three."""


class _Strict(BaseModel):
    """Fields of which numbers are not booleans, nor booleans numbers or text."""

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_other_kinds(cls, value: Any, info: ValidationInfo) -> Any:
        boolean = cls.model_fields[str(info.field_name)].annotation is bool
        if isinstance(value, bool) is not boolean and (boolean or isinstance(value, bool)):
            raise PydanticCustomError(
                "boolean", "should be true or false" if boolean else "should not be true or false"
            )
        return value


class Recipe(_Strict):
    """How weights are learnt. Rates are for the resolved batch size."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    optimizer: Literal["sgd", "adamw", "rmsprop"] = "sgd"
    learning_rate: float = Field(0.1, gt=0, le=1e30)
    """The highest rate of the schedule."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """SGD's and RMSprop's momentum, AdamW's first beta."""
    nesterov: bool = True
    """SGD looks ahead (Nesterov's momentum)."""
    weight_decay: float = Field(5e-4, ge=0, le=1e30)
    """On the weights of convolutions and linear layers only."""
    schedule: Literal["one-cycle", "cosine", "step", "exponential", "constant"] = "one-cycle"
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.75)
    """Shares of all steps after which the "step" schedule divides the rate by ten."""
    warm_up: float = Field(0.2, ge=0, lt=1)
    """Share of all steps in which the rate rises linearly."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = "none"
    """"balanced": an image counts the more the fewer its class has, and 1 on average."""
    accumulate: int = Field(1, ge=1)
    """Pieces into which a step's batch is cut, so that it takes less memory; their gradients are added up."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the moving average of weights that is validated and kept, a step; 0: no average."""
    patience: int | None = Field(None, gt=0)
    """Stop after so many validations without a better one; None: never."""
    progressive: float = Field(0.0, ge=0, le=1)
    """Share of all steps in which the images grow from half their size to all of it; 0: they do not."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Before the classifier; None: the network's own."""
    freeze: bool = False
    """Leave all but the classifier as the given weights have it."""
    backbone_rate: float = Field(1.0, gt=0, le=1)
    """The learning rate of all but the classifier, as a share of the classifier's."""
    stochastic_depth: float | None = Field(None, ge=0, lt=1)
    """Rate at which the last residual branch is skipped, less before it; None: the network's own."""
    clip_norm: float | None = Field(None, gt=0, le=1e30)
    """Largest norm of the gradient; None leaves it."""
    norm_momentum: float | None = Field(0.1, gt=0, le=1)
    """Momentum of all batch normalisations; None keeps the network's own (EfficientNet's 0.01 wants long runs)."""
    crop: int = Field(0, ge=0)
    """Pixels of padding for random crops."""
    flip: bool = False
    """Mirror half of the training images."""
    randaugment: int = Field(0, ge=0, le=30)
    """Magnitude of two random operations on each image; 0: none."""
    erasing: float = Field(0.0, ge=0, le=1)
    """Share of the images of which a rectangle is erased."""
    mixup: float = Field(0.0, ge=0)
    """Mix each image with another, by a share from Beta(mixup, mixup); 0: no."""
    cutmix: float = Field(0.0, ge=0)
    """Paste a rectangle of another image, its area from Beta(cutmix, cutmix); with mixup, one of both a batch."""


class TrainConfig(_Strict):
    """A resolved, re-runnable configuration: ``convwright train --config config.yaml`` repeats the run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: str
    """A folder, or the name of a source."""
    network: str
    """An expression."""
    weights: str | None = None
    """Whose weights the run begins with: "pretrained", "torchvision", "timm", a file or a run; None: nobody's."""
    resolution: int = Field(gt=0)
    epochs: float = Field(10, gt=0, le=1e6)
    """Passes over the training data; a fraction will do."""
    batch_size: int = Field(128, gt=0)
    seed: int = 0
    val_share: float = Field(0.1, gt=0, lt=1)
    max_bad: float = Field(0.1, ge=0, le=1)
    """Share of a folder's files that may be unreadable."""
    devices: int = Field(1, gt=0)
    """Processes that share each batch: GPUs, or parts of a CPU."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    fused: bool = False
    """Normalise, activate, gate and add in as few passes over memory as can be: faster on CPUs, other rounding."""
    memory_efficient: bool = False
    """Keep less for the backward pass, and compute it again there."""
    recipe: Recipe = Recipe()

    def to_yaml(self) -> str:
        """Return the configuration as YAML that `from_yaml` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    @classmethod
    def from_yaml(cls, path: Path) -> "TrainConfig":
        """Read a configuration. UsageError names the file, the field and what would be right."""
        verify(path)
        return checked(read_yaml(path), str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        UsageError: The file cannot be read, is not YAML, holds no mapping, or has aliases or deep nesting, which no
            configuration needs and which can take any amount of time and memory.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _check_structure(text)
        values = yaml.load(text, Loader=_Loader)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: encoding, dates, numbers of many digits
        raise UsageError(f"{path}: not a readable YAML file: {' '.join(str(error).split()):.300}") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UsageError(f"{path}: must hold 'field: value' lines, as a run's config.yaml does")
    return values


class _Loader(yaml.SafeLoader):
    """Reads numbers and booleans as YAML 1.2 does (`032` is decimal, `yes` is text), and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the field {str(twice[0])!r:.60} is there twice")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), [*_first])


def _check_structure(text: str) -> None:
    """Raise ValueError for aliases and deep nesting, before anything is built from a YAML text."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases ('*name') are not supported; write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_NESTED:
            raise ValueError(f"nested more than {MOST_NESTED} levels deep")


class FieldError(UsageError):
    """A value that a field of the configuration cannot have."""

    def __init__(self, field: str, reason: str, source: str = "") -> None:
        super().__init__(f"{source}: {field}: {reason}" if source else f"{field}: {reason}")
        self.field, self.reason = field, reason


def checked(values: dict[str, Any], source: str = "") -> TrainConfig:
    """Validate values into a configuration.

    Raises:
        FieldError: The first field with a wrong value, by its dotted name, as `recipe.learning_rate`.
    """
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the configuration"
        given = "" if first["type"] == "missing" else f", not {first['input']!r}"
        raise FieldError(field, f"{first['msg'][0].lower()}{first['msg'][1:]}{given}", source) from None


def difference(before: dict[str, Any], after: dict[str, Any], within: str = "") -> str:
    """Tell the first field in which two dumped configurations differ: "seed is 1, and the run began with 0"."""
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            if told := difference(one, other, f"{within}{name}."):
                return told
        elif one != other:
            return f"{within}{name} is {other!r}, and the run began with {one!r}"
    return ""
