"""From a request to a plan: data opened, network fitted, and batch size, learning rate and epochs measured."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from convwright.arch import Network
from convwright.arch.resolution import Resolution, format_resolution
from convwright.data import Dataset
from convwright.data.memory import check_fits
from convwright.data.opened import COLUMNS, Data
from convwright.data.skipped import in_one_line
from convwright.data.sources import check_exists
from convwright.display.progress import counting, print_progress, status
from convwright.display.wording import counted
from convwright.errors import ArgumentError, ConvwrightError, UsageError, argument, collected, together, warn
from convwright.modules import build
from convwright.places import check_folder, check_new_folder
from convwright.printable import printable
from convwright.ray_connection import LOCAL
from convwright.training.advice import Advice, advise
from convwright.training.cluster import check_cluster
from convwright.training.compiling import compile_failure
from convwright.training.config import OWN_NETWORK, PrecisionName, RunOptions, TrainConfig
from convwright.training.devices import check_batch, check_devices, is_main_process, world_size
from convwright.training.epochs import epochs_in_minutes
from convwright.training.failed_runs import has_failed
from convwright.training.field_errors import FieldError
from convwright.training.initial_weights import InitialWeights, absolute_source, find_initial_weights
from convwright.training.lr_finder import LearningRateCurve, find_learning_rate
from convwright.training.memory_fit import fitting_batch, memory_shortage
from convwright.training.operator_choice import choose_operators
from convwright.training.operators import check_operators, compile_fused
from convwright.training.plan import crop_scale, plan
from convwright.training.precision_choice import choose_precision
from convwright.training.preparation import check_labelled, make_learner
from convwright.training.process_state import preserved_process_state
from convwright.training.request import TrainRequest
from convwright.training.run import ensure_free
from convwright.training.run_names import name_of_run, numbered_paths
from convwright.training.run_plan import CURVE, Plan
from convwright.training.step import Learner
from convwright.training.teacher import Teacher, find_teacher
from convwright.zoo.reading import chooses_resolution, describes, is_place, read_network

MOST_NAMED = 5
"""Skipped files, and classes without images, that messages name."""
LEAST_BATCH, RGB, BYTES_OF_FLOAT = 8, 3, 4
"""Images of a small batch, which must fit into memory as floats."""
LEAST_EPOCHS = 0.5
"""Epochs in the given minutes below which a run learns hardly anything."""
TOO_SHORT = "too few to learn much"
"""Words of the warning about fewer epochs."""
SLOW_DEVICES = (
    "processes that share an idle CPU are usually slower than its threads: leave `devices` out, or use "
    "`sync_norm=False`, with which they exchange less, and each normalises its own share of a batch"
)
DATA_OPTIONS = frozenset({"val_share", "max_bad", "cache_gb", "resize", "folds", "fold", "duplicates", *COLUMNS})
"""Fields of a request that say how the data is opened."""
CONFIG_OPTIONS = frozenset({*RunOptions.model_fields, "batch_size"})
"""Fields of a request that are fields of the configuration too, apart from data, network and resolution."""


def prepare(request: TrainRequest, *, progress: bool = True) -> Plan:
    """Resolve a request: open the data, fit the network to it, and measure what is to be found out on this machine.

    Args:
        request: What to train.
        progress: Whether to show on standard error how far the work has come.

    Returns:
        The plan, for `cw.train`.

    Raises:
        ArgumentError: A field with a value that it cannot have, by name.
        DataError: The data cannot be learnt from.
        RunError: There is something at `out` already.
    """
    with preserved_process_state():
        return _Preparation(request, progress=progress).plan()


class _Preparation:
    """A request on its way to a plan."""

    def __init__(self, request: TrainRequest, *, progress: bool) -> None:
        self.request = request
        self.progress = progress
        self.notes: list[str] = []
        self.learner: Learner | None = None
        self.advice: Advice | None = None
        self.teacher: Teacher | None = None
        self.split: dict[str, Any] = {}
        """How the data was split, for the configuration."""
        self.chooses_resolution = False
        """Whether the network's expression, or that in its file, sets the resolution, as that of a plan does."""
        self.resolution: Resolution | None = None
        """Resolution of the images; None: their own."""

    def plan(self) -> Plan:
        if self.request.folds is not None and self.request.fold is None:
            raise FieldError(
                "folds", "needs `fold`, the part to validate on; `cw.cross_validate` trains on all of them"
            )
        devices = self._checked()
        request = self.request = self._advised()
        wanted = self._network()
        initial, self.teacher = self._initial_weights(wanted), self._teacher()
        out = request.out or next(path for path in numbered_paths(name_of_run(request)) if not path.exists())
        if is_main_process():
            _check_out(out)
        self.resolution = self._resolution(wanted)
        if has_failed(out):
            self.note(f"the run in {printable(out)} is replaced; it failed without usable weights")
        data = self._data(wanted.resolution)
        if self.advice:  # shown once the request is known to have no errors
            self.note(self.advice.line)
        data = initial.normalised(data) if initial else data
        if self.teacher:
            with self._naming("teacher"):
                self.teacher.check(data)
            self.note(f"teacher: {printable(self.teacher.source)} ({printable(self.teacher.network.name)})")
        try:
            config, network, curve = self._resolved(data, wanted, initial, devices)
        except Exception as error:  # those of torch's compiler have no common class
            if self.request.compile and (failure := compile_failure(error)):
                raise ConvwrightError(failure) from None
            raise
        if not _is_expression(request.network, network):
            config = config.model_copy(update={"network": OWN_NETWORK})
        if initial:
            self.note("; ".join([f"weights: {initial.published.source}", *initial.load(build(network, seed=0))]))
        if config.devices > world_size():
            check_batch(config.batch_size, config.devices)
            if config.sync_norm and request.cluster in (None, LOCAL) and not torch.cuda.device_count():
                self.note(SLOW_DEVICES)
        notes = tuple(self.notes)
        return Plan(request, config, network, data, out, initial, self.teacher, curve, notes, self.advice)

    def _checked(self) -> int:
        """Check what is known before any image is read, the folder last, and report all errors; return the devices."""
        wrong: list[UsageError] = []
        devices = 1
        with collected(wrong), self._naming("data"):
            check_exists(self.request.spec)
        with collected(wrong):
            self._network()
        with collected(wrong):
            devices = _devices(self.request)
            if self.request.cluster is None:
                check_devices(devices)
            else:
                check_cluster(self.request.cluster, devices, self.request.cores_per_task)
        if self.request.out and is_main_process():
            with collected(wrong):
                _check_out(self.request.out)
        if wrong:
            raise together(wrong)
        return devices

    def _advised(self) -> TrainRequest:
        """Return the request with what suits data, time and machine in the fields that it leaves open."""
        given = self.request.model_fields_set
        if "network" in given and (self.request.weights is None or "resolution" in given):
            return self.request  # as for a run that is repeated
        request, settled = self.request, {*given, "batch_size"}  # which follows from the images left to train on
        planned = self._network() if "network" in given else None
        if planned and self.chooses_resolution and "resolution" not in given:
            request, settled = request.model_copy(update={"resolution": planned.resolution}), {*settled, "resolution"}
        with self._naming("data"):
            self.advice = advise(request)
        values = {name: value for name, value in self.advice.fields().items() if name not in settled}
        return self.request.model_copy(update=values)

    def note(self, text: str) -> None:
        """Record a decision, and show it."""
        self.notes.append(text)
        if self.progress:
            print_progress(text)

    @contextmanager
    def _naming(self, field: str) -> Iterator[None]:
        """Name a field, and the file that its value was read from, in errors about the value."""
        try:
            with argument(field):
                yield
        except ArgumentError as error:
            if error.argument == field and (source := self.request.source_of(field)):
                raise FieldError(field, error.reason, source) from None
            raise

    def _network(self) -> Network:
        """Read the network before any image: a wrong name is reported at once."""
        given = self.request.network
        if isinstance(given, Network):
            self.chooses_resolution = chooses_resolution(given.name)
            return given
        with self._naming("network"):
            found = read_network(given)
        self.chooses_resolution = chooses_resolution(found.name)
        # A file is found again by its path, not by the name inside.
        return replace(found, name=given) if is_place(given) else found

    def _resolution(self, network: Network) -> Resolution | None:
        """Return the resolution of the request, or else that which the network was planned for, and note which."""
        source = self.request.data
        given = self.request.resolution or (source.resolution if isinstance(source, Data) else None)
        planned = network.resolution if self.chooses_resolution else None
        if planned is None or given == planned:
            return given
        if given is None:
            size = f"images are resized to {format_resolution(planned)} px, which the network is planned for"
            self.note(f"{size}; `resolution` changes it")
            return planned
        trained = f"is trained at {format_resolution(given)} px, as requested"
        self.note(f"the network is planned for {format_resolution(planned)} px, and {trained}")
        return given

    def _initial_weights(self, network: Network) -> InitialWeights | None:
        if self.request.weights is None:
            return None
        with self._naming("weights"):
            return find_initial_weights(self.request.weights, network)

    def _teacher(self) -> Teacher | None:
        if self.request.teacher is None:
            return None
        with self._naming("teacher"):
            return find_teacher(self.request.teacher)

    def _data(self, largest: Resolution) -> Dataset:
        """Open the data, and note which files were skipped and which classes have no images."""
        request = self.request
        given = {name: value for name, value in request.given().items() if name in DATA_OPTIONS}
        source = Data.of(request.data)
        if request.split_seed is not None:
            given["seed"] = request.split_seed
        elif not isinstance(request.data, Data):
            given["seed"] = request.seed
        if changed := {name: value for name, value in given.items() if getattr(source, name) != value}:
            source = replace(source, **changed)  # a copy opens the images again
        self.split = {name: getattr(source, name) for name in (DATA_OPTIONS - {"cache_gb"})}
        if source.seed != request.seed:
            self.split["split_seed"] = source.seed
        if self.resolution is not None:  # before any image is decoded
            with self._naming("resolution"):
                check_fits(LEAST_BATCH * BYTES_OF_FLOAT, RGB, self.resolution)
        with self._naming("data"):
            data = source.dataset(self.resolution, largest=largest)
            data = source.with_larger(data, crop_scale(data, request.recipe, request.recipe_fields))
        if data.channels == 1 and (request.saturation or request.hue):
            self.note("saturation and hue have no effect on grey images")
        for line in data.skipped[:MOST_NAMED]:
            self.note(f"skipped {line}")
        if len(data.skipped) > MOST_NAMED:
            self.note(f"and {len(data.skipped) - MOST_NAMED} more that could not be read")
        if unused := in_one_line(data.unused):
            self.note(f"not used: {unused}")
        if data.duplicates:
            copies = counted(data.duplicates, "exact duplicate")
            self.note(f"{copies} kept on the side of the original, to train on or to validate on")
        check_labelled(data)
        roles = (("training", data.train), ("validation", data.val), ("test", data.test))
        for role, split in roles:
            counts = split.class_counts(len(data.classes)).tolist() if split else [1] * len(data.classes)
            if absent := [printable(name) for name, count in zip(data.classes, counts, strict=True) if not count]:
                more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
                self.note(f"there are no {role} images of {', '.join(absent[:MOST_NAMED])}{more}")
        return data

    def _execution(self, config: TrainConfig, network: Network) -> dict[str, bool]:
        """Return what the request leaves open of how the network is computed, and note why."""
        given, found = self.request.model_fields_set, dict[str, bool]()
        elsewhere = config.devices > 1 or self.request.cluster is not None
        if config.precision == "16-mixed" and not torch.cuda.is_available() and not elsewhere:
            self.note("float16 is for GPUs: processors compute faster in 32 bits, or with `precision='bf16-mixed'`")
        if config.compile or torch.cuda.is_available() or elsewhere or config.recipe.freeze:
            return found  # where the classifier alone is trained, there is little to gain
        if "memory_efficient" not in given and (reason := memory_shortage(config, network)):
            self.note(f"memory-efficient dense blocks: {reason}")
            found["memory_efficient"] = True
        if "fused" in given or found or config.memory_efficient or config.precision == "16-mixed":
            return found
        chosen = choose_operators(network, config.batch_size, config.precision)
        if chosen.reason:
            self.note(chosen.reason)
        return found | {"fused": chosen.fused}

    def _precision(self, config: TrainConfig, network: Network) -> PrecisionName:
        """Return the number format in which this machine trains faster, and note why."""
        operators_open = "fused" not in self.request.model_fields_set and not config.compile
        chosen = choose_precision(network, config.batch_size, None if operators_open else config.fused)
        self.note(chosen.reason)
        return chosen.precision

    def _compile(self, config: TrainConfig) -> None:
        """Compile fused operators where they are available to the run, which takes seconds the first time."""
        open_or_given = config.fused or "fused" not in self.request.model_fields_set
        if config.compile or config.precision == "16-mixed":
            return  # without fused operators
        here = config.devices == 1 and self.request.cluster is None
        if open_or_given and here and not config.recipe.freeze and not torch.cuda.is_available():
            shown = status("compiling fused operators for this machine, once")
            with shown if self.progress else nullcontext():
                compile_fused(config.precision)

    def _resolved(
        self, data: Dataset, wanted: Network, initial: InitialWeights | None, devices: int
    ) -> tuple[TrainConfig, Network, LearningRateCurve | None]:
        """Return configuration, network and learning-rate curve, measuring what is open with one learner."""
        request = self.request
        options: dict[str, Any] = {name: each for name, each in request.given().items() if name in CONFIG_OPTIONS}
        options |= {"devices": devices, **self.split}
        if request.weights is not None:
            options["weights"] = absolute_source(request.weights)
        if request.teacher is not None:
            options["teacher"] = absolute_source(request.teacher)
        recipe = request.recipe_fields

        def planned() -> tuple[TrainConfig, Network]:
            return plan(data, wanted, fit=request.fit, name=request.recipe, recipe=recipe, **options)

        curve = None
        if request.batch_size == "auto":
            options["batch_size"] = None
        if request.precision == "auto":
            del options["precision"]
        config, network = planned()
        if request.precision == "auto":
            options["precision"] = self._precision(config, network)
            config, network = planned()
        self._compile(config)
        options |= self._execution(config, network)
        if request.batch_size == "auto":
            config, network = planned()
            options["batch_size"] = fitting_batch(
                config, network, data, learner=self._learner(config, network, data, initial)
            )
            self.note(f"a batch of {counted(options['batch_size'], 'image')} fits into memory")
        config, network = planned()
        check_operators(config, here=request.cluster is None)
        if request.find_lr:
            with counting() as progress:
                learner = self._learner(config, network, data, initial)
                curve = find_learning_rate(config, network, data, progress, initial, learner)
            self.note(f"learning rate {curve.chosen:g}: a tenth of the rate with the lowest loss (see {CURVE})")
            recipe = recipe | {"learning_rate": curve.chosen}
            config, network = planned()
        if request.minutes is not None:
            if self.progress:
                print_progress("measuring how fast this machine trains the network ...")
            learner = self._learner(config, network, data, initial)
            epochs = epochs_in_minutes(request.minutes, config, network, data, learner=learner)
            config = config.model_copy(update={"epochs": epochs})
            if epochs < LEAST_EPOCHS:
                warn(
                    f"{request.minutes:.3g} minutes, of which measuring this machine takes a part, leave time for "
                    f"{epochs:.3g} epochs, {TOO_SHORT}; give more `minutes`"
                )
        return config, network, curve

    def _learner(self, config: TrainConfig, network: Network, data: Dataset, initial: InitialWeights | None) -> Learner:
        """Return the one learner of all measurements, in its initial state."""
        config = config.model_copy(update={"devices": world_size()})
        if self.learner is None:
            self.learner = make_learner(config, network, data, initial=initial, teacher=self.teacher)
            self.learner.save_initial_state()
        else:
            self.learner.restore_initial_state(config)
        return self.learner


def _devices(request: TrainRequest) -> int:
    """Return the number of processes: that of the request, or of the launcher that has started this process.

    Raises:
        ArgumentError: The launcher's processes could not agree on what to do.
    """
    size = world_size()
    if size == 1:
        return request.devices
    if request.cluster is not None:
        raise ArgumentError("cluster", "cannot be combined with torchrun; leave out one of the two")
    if request.minutes is not None:
        raise FieldError("minutes", "plans for one device; with more, give `epochs`")
    if "devices" in request.model_fields_set and request.devices != size:
        raise ArgumentError("devices", f"torchrun has started {size} processes, not {request.devices}; leave it out")
    if request.out is None:
        raise ArgumentError("out", "missing; under torchrun all processes must write to the same run directory")
    return size


def _is_expression(given: str | Network, planned: Network) -> bool:
    """Return whether the planned network is found again by its name, wherever the configuration is read."""
    return not (isinstance(given, str) and is_place(given)) and describes(planned.name, planned)


def _check_out(path: Path) -> None:
    check_folder("out", path)
    ensure_free(path)  # says how to resume a run that exists
    if not has_failed(path):
        check_new_folder("out", path)
