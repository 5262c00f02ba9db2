"""The run directory: the complete state and results of a run, in files that other tools can read."""

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZipFile

import torch

from convwright import json_text
from convwright.arch import Network
from convwright.arch.expression import load_network
from convwright.arch.resolution import format_resolution
from convwright.brief import Brief
from convwright.checksums import NAME as CHECKSUMS
from convwright.checksums import Checksums
from convwright.data.framing import Framing
from convwright.display.wording import counted
from convwright.errors import ArgumentError, ConvwrightError, RunError, RunHeldError, warn
from convwright.files import digest_of, new_folder, remove_partial, write_bytes
from convwright.locks import LockHeldError, locked
from convwright.public_classes import CLASSES
from convwright.training.config import INITIAL_WEIGHTS, OWN_NETWORK, TEACHER_WEIGHTS, TrainConfig
from convwright.training.failed_runs import LOCK, has_failed
from convwright.training.records import (
    ClassNames,
    DataFacts,
    Summary,
    format_metrics,
    parse_classes,
    parse_metrics,
    parse_record,
    parse_summary,
)
from convwright.training.thresholds import NAME as THRESHOLDS
from convwright.training.thresholds import Thresholds
from convwright.weights import serialized

__all__ = ["DataFacts", "Run", "ensure_free"]
KEPT_CHECKPOINTS = 2


@dataclass(frozen=True)
class Run(Brief):
    """An opened run directory."""

    path: Path
    config: TrainConfig
    network: Network
    classes: tuple[str, ...]
    data: DataFacts
    INITIAL: ClassVar[str] = INITIAL_WEIGHTS
    TEACHER: ClassVar[str] = TEACHER_WEIGHTS

    WEIGHTS: ClassVar[str] = "model.safetensors"

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"path": self.path, "network": self.network.name}

    @cached_property
    def files(self) -> Checksums:
        """The files of the directory, with their checksums."""
        return Checksums(self.path)

    @property
    def weights(self) -> Path:
        """The file of the best weights so far, by validation accuracy or mean average precision."""
        return self.path / self.WEIGHTS

    def existing_weights(self) -> Path:
        """Return the file of the best weights, if it is there and undamaged. RunError says what is wrong with it."""
        if self.weights.exists():
            return self.files.verified(self.WEIGHTS)
        if self.finished:
            raise RunError(f"{self.weights}: missing, although the run has ended; restore it from a copy")
        raise RunError(f"{self.path}: no weights yet; a run has some after its first validation")

    @property
    def framing(self) -> Framing:
        """How the run's images are resized, and what the values of images with more than 8 bits per channel mean."""
        return self.data.framing

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several classes, or none."""
        return self.data.multi_label

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """Probability from which on each class is predicted, chosen on validation images; None with one label each.

        Raises:
            RunError: The file is missing or damaged.
        """
        if not self.multi_label:
            return None
        path = self.path / THRESHOLDS
        if not path.exists():
            raise RunError(f"{path}: missing; it holds the thresholds of this multi-label run")
        return Thresholds.parse(self.files.read(THRESHOLDS), path, self.classes)

    @property
    def initial(self) -> Path:
        """The file of the weights that the run started from, where it did not start from random ones."""
        return self.path / self.INITIAL

    @property
    def metrics(self) -> list[dict[str, float]]:
        """One row a validation: rates, losses, and accuracies or mean average precision."""
        path = self.path / "metrics.csv"
        if path.exists():
            return parse_metrics(self.files.read(path.name), path)
        if self.finished and self.files.lists(path.name):
            raise RunError(f"{path}: missing, although the run has ended; restore it from a copy")
        return []

    @property
    def summary(self) -> Summary:
        """Results of the run; RunError if it has not ended."""
        if not self.finished:
            raise RunError(f"{self.path}: the run has not ended; resume it with `cw.resume({str(self.path)!r})`")
        path = self.path / "summary.json"
        return parse_summary(self.files.read(path.name), path)

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return (self.path / "summary.json").exists()

    @classmethod
    def create(
        cls,
        path: Path,
        config: TrainConfig,
        network: Network,
        classes: tuple[str, ...],
        data: DataFacts,
        files: Mapping[str, str | bytes] | None = None,
    ) -> "Run":
        """Make a new run directory; one of a run that has failed is replaced. RunError if something is in the way."""
        ensure_free(path)
        contents: dict[str, str | bytes] = {
            "config.yaml": config.to_yaml(),
            "network.json": network.to_json_text() + "\n",
            "data.json": json_text.dump(data.to_dict(), indent=1) + "\n",
            "classes.json": json_text.dump(asdict(ClassNames(classes)), indent=1) + "\n",
        }
        contents |= files or {}
        encoded = {
            name: content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
            for name, content in contents.items()
        }
        try:
            with new_folder(path, replace=has_failed(path)) as folder:  # no kill leaves half a run
                (folder / "checkpoints").mkdir()
                Checksums(folder).record({name: digest_of(content) for name, content in encoded.items()})
                for name, content in encoded.items():
                    write_bytes(folder / name, content)
        except ConvwrightError:
            ensure_free(path)  # another process has made a run here meanwhile
            raise
        return cls(path, config, network, classes, data)

    @classmethod
    def of(cls, value: "Run | str | Path", parameter: str = "run") -> "Run":
        """Return a value if it is an opened run already, else open the run directory of this path.

        Args:
            value: A run or its directory.
            parameter: Name of the value in errors.

        Raises:
            ArgumentError: The value is neither a run nor a path.
            RunError: There is no run, or a file of it is damaged.
        """
        if isinstance(value, Run):
            return value
        if not isinstance(value, str | Path):
            raise ArgumentError(parameter, f"must be a run or its directory, not {value!r:.80}")
        return cls.open(Path(value))

    def as_public(self) -> "Run":
        """Return the run as the class that users get, which has the operations on a run as methods."""
        public = CLASSES["Run"]()
        assert isinstance(public, type)
        assert issubclass(public, Run)
        return public(self.path, self.config, self.network, self.classes, self.data)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open a run directory.

        Raises:
            RunError: The directory lacks a file, or a file is damaged; the message names it.
        """
        if not path.is_dir():
            raise RunError(f"{path}: no such run directory" if not path.exists() else f"{path}: a file, not a run")
        for name in ("config.yaml", "network.json", "classes.json", "data.json"):
            if not (path / name).is_file():
                raise RunError(f"{path}: not a run directory: it has no {name}; `cw.train` makes one")
        files = Checksums(path)
        if not files.recorded:
            warn(f"{path}: has no {CHECKSUMS}, as runs of earlier versions; damage to its files cannot be noticed")
        data: DataFacts = parse_record(DataFacts, files.read("data.json"), path / "data.json")
        classes = parse_classes(files.read("classes.json"), path / "classes.json")
        network = load_network(files.verified("network.json"))
        config = TrainConfig.from_yaml(files.verified("config.yaml"))
        if len(classes) != network.classes:
            raise RunError(
                f"{path}: classes.json names {counted(len(classes), 'class', 'classes')}, and the network has "
                f"{network.classes}"
            )
        if config.network not in (network.name, OWN_NETWORK):
            raise RunError(f"{path}: config.yaml names {config.network!r}, and network.json contains {network.name!r}")
        if (data.channels, data.resolution) != (network.channels, network.resolution):
            of_data, of_network = (format_resolution(each.resolution) for each in (data, network))
            raise RunError(
                f"{path}: data.json has {counted(data.channels, 'channel')} of {of_data} px, and the network "
                f"{network.channels} of {of_network} px"
            )
        return cls(path, config, network, classes, data)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training this run at the same time.

        Raises:
            RunHeldError: Another process is training it.
        """
        with ExitStack() as stack:
            try:
                (self.path / "checkpoints").mkdir(exist_ok=True)
                stack.enter_context(locked(self.path / LOCK, wait=False, required=False))
            except OSError as error:
                raise ConvwrightError(f"{self.path}: could not be written: {error.strerror or error}") from None
            except LockHeldError:
                raise RunHeldError(f"{self.path}: another process is training this run") from None
            remove_partial(self.path)
            remove_partial(self.path / "checkpoints")
            self.files.record_existing()
            yield

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replace metrics.csv by these rows."""
        self.files.write("metrics.csv", format_metrics(rows).encode())

    def write_summary(self, summary: Summary) -> None:
        """Write the results, which marks the run as ended."""
        text = json_text.dump(summary.to_dict(), indent=1) + "\n"
        self.files.write("summary.json", text.encode("utf-8", "backslashreplace"))

    def write_weights(self, module: torch.nn.Module) -> None:
        """Write a module's parameters and buffers as the best weights so far."""
        self.files.write(self.WEIGHTS, serialized(module))

    def write_thresholds(self, thresholds: tuple[float, ...]) -> None:
        """Write the thresholds of a multi-label run's best weights, in the order of its classes."""
        found = Thresholds.of(self.classes, thresholds)
        self.files.write(THRESHOLDS, found.to_json_text().encode("utf-8", "backslashreplace"))

    def save_checkpoint(self, step: int, state: dict[str, Any]) -> None:
        """Write the state at a step; of all checkpoints keep this and the one before.

        Checkpoints of later steps are removed too: the run resumed from an earlier one because they were unreadable.
        """
        path = self.path / "checkpoints" / f"step-{step:09d}.pt"
        whole = io.BytesIO()  # torch's own writer does not say why a disk takes no more
        torch.save(state, whole)
        self.files.write(f"checkpoints/{path.name}", whole.getbuffer())
        others = self._checkpoints()
        older = [other for other in others if other.name < path.name]
        for other in others:
            if other.name > path.name or other in older[KEPT_CHECKPOINTS - 1 :]:
                other.unlink(missing_ok=True)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the newest state that can be read, with a warning for each damaged one; None if there is none."""
        checkpoints = self._checkpoints()
        for path, before in zip_longest(checkpoints, checkpoints[1:]):
            try:
                if not self.files.intact(f"checkpoints/{path.name}"):
                    raise ValueError(f"its checksum in {CHECKSUMS} is wrong")
                with ZipFile(path) as file:  # torch does not check the file's own checksums
                    if not self.files.recorded and (damaged := file.testzip()):
                        raise ValueError(f"the checksum of {damaged} is wrong")
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                return state
            except MemoryError:
                raise  # the file may be whole
            except Exception as error:  # a damaged file makes torch raise nearly anything
                why = (str(error) or type(error).__name__).splitlines()[0]
                instead = f"trying {before.name}" if before else "no other checkpoint is left"
                warn(f"{path} is damaged ({why}); {instead}")
        return None

    @property
    def newest_checkpoint(self) -> Path | None:
        """The file of the newest checkpoint, if there is one."""
        return next(iter(self._checkpoints()), None)

    def _checkpoints(self) -> list[Path]:
        return sorted((self.path / "checkpoints").glob("step-*.pt"), reverse=True)


def ensure_free(path: Path) -> None:
    """Raise RunError unless the path is free for a new run, or holds one that has failed, which is replaced."""
    if has_failed(path):
        return
    if (path / "config.yaml").exists():
        raise RunError(f"{path} already holds a run; give another `out`, or resume it with `cw.resume({str(path)!r})`")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} exists and is not empty; give another `out`")
