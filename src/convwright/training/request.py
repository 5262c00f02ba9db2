"""A request to train: what a user wants, with everything else left open."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import Field, InstanceOf, PrivateAttr, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler  # in pydantic itself only since 2.11

from convwright.arch import Network
from convwright.arch.expression import is_place, load_network
from convwright.brief import brief_repr
from convwright.checksums import verify
from convwright.data.opened import Data
from convwright.errors import ArgumentError, UsageError, together
from convwright.files import write_text
from convwright.options import Group
from convwright.training.combinations import execution_problems
from convwright.training.config import (
    INITIAL_WEIGHTS,
    OWN_NETWORK,
    STRICT,
    TEACHER_WEIGHTS,
    ImageSize,
    Recipe,
    RunOptions,
    stored_config,
)
from convwright.training.field_errors import FieldError, field_error, in_file
from convwright.training.recipes import RecipeName
from convwright.training.yaml_text import read_yaml

DEFAULT_NETWORK = "cifar_seresnet14"
KNOWN_NAMES = frozenset({"pretrained", "torchvision", "timm"})
"""Sources of weights, which are never files."""
RECIPE = Group("Recipe")
TRACKING = Group("Tracking")


class TrainRequest(RunOptions, Recipe):
    """What to train, on which images, for how long and how. Every field but `data` may be left out.

    Fields of the recipe that are given override those of the recipe that `recipe` names.

    Example:
        >>> request = cw.TrainRequest(data="digits", network="cifar_resnet8", epochs=0.5, mixup=0.2)
        >>> request.given()
        {'mixup': 0.2, 'epochs': 0.5, 'data': 'digits', 'network': 'cifar_resnet8'}
    """

    model_config = STRICT

    data: str | Path | InstanceOf[Data]
    """A folder with a sub-folder per class; a list of images (.csv, .tsv, .jsonl or .parquet); tar files; a data set of
    Hugging Face; or fashion-mnist, cifar10, cifar100 or digits."""
    network: str | InstanceOf[Network] = DEFAULT_NETWORK
    """A network's name or expression, or the file of one; chosen for the data, the time and what is installed by
    default."""
    recipe: Annotated[RecipeName | None, RECIPE] = None
    """Training recipe of a paper; `fast`, high accuracy in a short time; or `fine-tune`, from initial weights. Options
    given beside it override it; chosen with the network by default."""
    minutes: float | None = Field(None, gt=0, le=1e6)
    """Train for this many minutes, instead of `epochs`; all runs of `folds` together take them."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"] | None = Field(None)
    """Images in a step, 128 or fewer by default; `auto`: as many as fit into memory."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "auto"] = "32-true"  # type: ignore[assignment]
    """Number format of training: 32 bits; or bfloat16 or, for GPUs, float16 where they are exact enough; `auto`:
    bfloat16 where this machine trains faster with it, else 32 bits. With float16 the loss is scaled, and steps whose
    gradient overflows are skipped."""
    resolution: ImageSize | None = None
    """Side of the images in pixels, or HEIGHTxWIDTH; chosen with the network by default, or the images' own where the
    network is given."""
    out: Path | None = None
    """Run directory to make; runs/NETWORK-DATA by default, and runs/NETWORK-DATA-folds for all runs of `folds`."""
    cache_gb: float | None = Field(None, ge=0, le=1e9)
    """Most gigabytes that decoded images may take on disk, 20 by default; 0: none are kept."""
    workers: int = Field(0, ge=0, le=1_000_000)
    """Threads that prefetch batches, or processes that decode images during training; 0: none, or one for each core."""
    checkpoint_every: float = Field(5.0, ge=0, le=1e6)
    """Minutes between checkpoints, 5 by default; there is one at each validation too."""
    cluster: str | None = None
    """Train on this Ray cluster instead: an address, `auto`, or `local`; with a process for each of `devices`, on nodes
    that have the images under the same paths."""
    cores_per_task: int = Field(1, ge=1, le=1_000_000)
    """Processor cores of each process on a cluster; 1 by default."""
    fit: bool = True
    """Drop the network's early strides for small images."""
    find_lr: Annotated[bool, RECIPE] = False
    """Find the highest learning rate by a test of 100 steps."""
    tensorboard: Annotated[bool, TRACKING] = False
    """Write event files to the run directory's folder `tensorboard`."""
    mlflow: Annotated[str | None, TRACKING] = None
    """Log to this MLflow tracking store, such as http://... or sqlite:///mlflow.db."""

    _source: str = PrivateAttr("")
    _from_source: frozenset[str] = PrivateAttr(frozenset())

    @model_validator(mode="wrap")
    @classmethod
    def _validate(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Leave out fields that are None where None has no meaning, and name the wrong fields."""
        if isinstance(values, Mapping):
            values = {name: value for name, value in values.items() if value is not None or _may_be_none(cls, name)}
        try:
            request = handler(values)
        except ValidationError as error:
            raise field_error(error, fields=cls.model_fields) from None
        if problems := {each.field: each for each in reversed([*request._problems()])}:  # one a field
            raise together([*reversed(problems.values())])
        return request

    def _problems(self) -> Iterator[FieldError]:
        """Yield what is wrong with more than one field."""
        if self.minutes is not None and "epochs" in self.model_fields_set:
            yield FieldError("minutes", "takes the place of `epochs`; give one of the two")
        if self.find_lr and "learning_rate" in self.model_fields_set:
            yield FieldError("find_lr", "finds the learning rate; omit it or `learning_rate`")
        if self.fold is not None and (self.folds is None or self.fold > self.folds):
            if self.folds is None:
                yield FieldError("fold", "needs `folds`, the number of folds")
            else:
                yield FieldError("fold", f"must be 1 to `folds`, which is {self.folds}; not {self.fold}")
        if self.patience is not None and self.folds is not None:
            yield FieldError(
                "patience",
                "would choose the end of training on the images that each fold is measured on; omit it with `folds`",
            )
        yield from self._initial_problems()
        yield from self._distillation_problems()
        yield from self._augmentation_problems()
        yield from execution_problems(self, self)
        if self.precision == "auto" and (self.devices > 1 or self.cluster is not None):
            yield FieldError("precision", "auto measures one process; with `devices` or `cluster`, name a format")
        if self.cluster is None:
            if self.minutes is not None and self.devices > 1:
                yield FieldError("minutes", "plans for one device; with more, give `epochs`")
            if "cores_per_task" in self.model_fields_set:
                yield FieldError("cores_per_task", "needs `cluster`; without one, a single process uses all cores")
        else:
            if self.minutes is not None:
                yield FieldError("minutes", "measures the speed of this machine; with `cluster`, give `epochs`")
            if self.batch_size == "auto":
                yield FieldError("batch_size", "auto measures this machine's memory; with `cluster`, give a number")

    def _augmentation_problems(self) -> Iterator[FieldError]:
        """Yield what is wrong with the fields that are about augmentation and the balance of classes."""
        given = self.model_fields_set
        if self.sampling == "balanced" and self.class_weights != "none":
            yield FieldError(
                "class_weights",
                f"cannot be {self.class_weights} with `sampling` balanced, which shows all classes equally often "
                "already: rare classes would count twice; omit one",
            )
        for name, needed, on in (
            ("crop_ratio", "crop_scale", bool(self.crop_scale) or self.recipe is not None),
            ("effective_beta", "class_weights", self.class_weights == "effective"),
        ):
            if name in given and getattr(self, name) != Recipe.model_fields[name].default and not on:
                wanted = " effective" if needed == "class_weights" else ""
                yield FieldError(name, f"has no effect without `{needed}`{wanted}")

    def _distillation_problems(self) -> Iterator[FieldError]:
        """Yield what is wrong with the fields that are about a teacher."""
        if self.teacher is None:
            for name in ("distillation", "temperature"):
                if getattr(self, name) != Recipe.model_fields[name].default:
                    yield FieldError(name, "has no effect without `teacher`")
        elif self.folds is not None:
            yield FieldError("teacher", "may have been trained on the images of each fold; omit it with `folds`")
        elif self.freeze:
            yield FieldError("teacher", "has no effect with `freeze`, which trains the classifier alone; omit one")

    def _initial_problems(self) -> Iterator[FieldError]:
        """Yield what is wrong with the fields that are about initial weights."""
        given = self.model_fields_set
        for name, effect in (
            ("freeze", "keeps initial weights as they are"),
            ("freeze_epochs", "keeps initial weights as they are at first"),
            ("freeze_norm", "keeps initial statistics as they are"),
        ):
            if getattr(self, name) and "network" in given and self.weights is None:
                yield FieldError(name, f"{effect}; name some with `weights`")
        if self.recipe == "fine-tune" and "network" in given and self.weights is None:
            yield FieldError("recipe", "'fine-tune' is for initial weights; name some with `weights`")
        for name in ("freeze_epochs", "backbone_rate", "layer_decay", "freeze_norm"):
            if self.freeze and name in given and getattr(self, name) != Recipe.model_fields[name].default:
                yield FieldError(name, "has no effect with `freeze`, which trains the classifier alone; omit one")
        if "unfrozen_rate" in given and self.freeze:
            yield FieldError(
                "unfrozen_rate", "has no effect with `freeze`, which trains the classifier alone; omit one"
            )

    def __repr__(self) -> str:
        data = self.data if isinstance(self.data, str | Path) else self.data.spec
        return brief_repr(type(self).__name__, {"data": data} | {k: v for k, v in self.given().items() if k != "data"})

    def given(self) -> dict[str, Any]:
        """Return the fields that were given, by name."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}

    def source_of(self, field: str) -> str:
        """Return the file that a field's value was read from; empty for a value that was given."""
        return self._source if field in self._from_source else ""

    @property
    def recipe_fields(self) -> dict[str, Any]:
        """The fields of the recipe that were given."""
        return {name: value for name, value in self.given().items() if name in Recipe.model_fields}

    @property
    def spec(self) -> str:
        """The folder or the name of the data."""
        return self.data.spec if isinstance(self.data, Data) else str(self.data)

    def changed(self, **values: Any) -> "TrainRequest":
        """Return a request with other values for some fields.

        Raises:
            FieldError: A value that its field cannot have.
        """
        return TrainRequest(**_overridden(self.given(), values))

    def to_yaml(self, path: str | Path | None = None) -> str:
        """Return the fields that were given as YAML that `from_yaml` reads.

        Args:
            path: File to write the text to; None: none is written.

        Raises:
            UsageError: The network is an object that no expression describes.
        """
        values = {name: value for name, value in self.given().items() if name not in ("data", "network")}
        values = self.model_dump(mode="json", include=set(values))
        if isinstance(self.data, Data):
            values = self.data.options() | values
        text = yaml.safe_dump(
            {"data": self.spec, "network": expression_of(self.network)} | values, sort_keys=False, allow_unicode=True
        )
        if path is not None:
            write_text(Path(path), text)
        return text

    @classmethod
    def from_yaml(cls, path: str | Path, **values: Any) -> "TrainRequest":
        """Read a request, or the configuration of a run, which repeats that run.

        Args:
            path: The file: what `to_yaml` wrote, or a run's `config.yaml`. Relative paths in it are those from the
                current folder, or else from the folder of the file.
            values: Fields that override those of the file. `recipe` takes the place of the file's whole recipe.

        Raises:
            UsageError: The file cannot be read, or has a field with a wrong value; the message names the field.
        """
        path = Path(path)
        verify(path)
        stored = read_yaml(path)
        if isinstance(stored.get("recipe"), dict):
            config = stored_config(stored, str(path))
            fields = config.model_dump()
            recipe = fields.pop("recipe") if values.get("recipe") is None else {}
            fields.pop("schema_version")
            fields["network"] = _network_of(fields["network"], path.parent)
            if values.get("weights") is None:
                fields["weights"] = _kept_file(fields["weights"], path.parent / INITIAL_WEIGHTS)
            if values.get("teacher") is None:
                fields["teacher"] = _kept_file(fields["teacher"], path.parent / TEACHER_WEIGHTS)
            stored = fields | recipe | ({"fit": False} if values.get("network") is None else {})
        else:
            stored = _found_beside(stored, path.parent)
            try:
                cls(**stored)
            except ArgumentError as error:
                raise in_file(error, str(path)) from None
        request = cls(**_overridden(stored, values))
        request._source = str(path)
        request._from_source = frozenset(stored.keys() - {name for name, value in values.items() if value is not None})
        return request


def expression_of(network: str | Network) -> str:
    """Return the expression that describes a network.

    Raises:
        UsageError: The network is an object that no expression describes.
    """
    if isinstance(network, str):
        return network
    from convwright.zoo.reading import describes

    if not describes(network.name, network):
        raise UsageError(
            f"the network {network.name!r} is not what its name describes; save it with to_json_text and name the file"
        )
    return network.name


def _found_beside(stored: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the fields of a request with paths that exist beside its file, and not in the current folder, as such."""
    from convwright.data.registry import SOURCES

    found = dict(stored)
    for name in ("data", "network", "weights", "teacher"):
        if not isinstance(value := stored.get(name), str) or value in KNOWN_NAMES or value in SOURCES:
            continue
        place, *operations = value.split("|") if name == "network" else [value]
        beside = (folder / place).resolve()
        if (name != "network" or is_place(place)) and not Path(place).expanduser().exists() and beside.exists():
            found[name] = "|".join([str(beside), *operations])
    return found


def _network_of(network: str, folder: Path) -> str | Network:
    """Return the network of a run's configuration: what is not an expression lies beside the configuration.

    Args:
        network: Network in the configuration; in runs of version 0.2 and earlier it can be a file elsewhere.
        folder: Folder of the configuration.
    """
    file = folder / OWN_NETWORK
    return load_network(file) if network == OWN_NETWORK or (is_place(network) and file.is_file()) else network


def _kept_file(source: str | None, kept: Path) -> str | None:
    """Return where a run's configuration finds initial weights or a teacher: those of a file are kept in the run too.

    Args:
        source: Weights or teacher in the configuration, files as absolute paths.
        kept: The file in the run.
    """
    return str(kept.absolute()) if source is not None and Path(source).is_absolute() and kept.is_file() else source


def missing_data() -> str:
    """Return what is wrong with a request without data."""
    from convwright.data.registry import SOURCES

    *others, last = SOURCES
    return f"missing; give a folder with a sub-folder per class, or {', '.join(others)} or {last}"


def _overridden(stored: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored fields with others in their place; None only where it has a meaning.

    A length of the run replaces the other one, and so does the learning rate and the test that finds it.
    """
    given = {name: value for name, value in values.items() if value is not None or _may_be_none(TrainRequest, name)}
    replaced = {"minutes": "epochs", "epochs": "minutes", "find_lr": "learning_rate", "learning_rate": "find_lr"}
    dropped = {replaced[name] for name in given if name in replaced and given[name] not in (None, False)}
    return {name: value for name, value in stored.items() if name not in dropped} | given


def _may_be_none(model: type[TrainRequest], name: str) -> bool:
    field = model.model_fields.get(name)
    return field is None or NoneType in get_args(field.annotation)
