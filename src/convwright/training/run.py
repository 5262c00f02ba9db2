"""The run directory: all that a run is, in files that other tools can read."""

import csv
import fcntl
import io
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZipFile

import torch

from convwright.arch import Network
from convwright.arch.expression import load_network
from convwright.data import Dataset
from convwright.errors import ConvwrightError, ConvwrightWarning, RunError, RunHeldError
from convwright.files import write_atomically, write_bytes, write_text
from convwright.training.config import TrainConfig

KEPT_CHECKPOINTS = 2


@dataclass(frozen=True)
class DataFacts:
    """What must be known of the training data to use its network: `data.json`."""

    fingerprint: str
    channels: int
    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: dict[str, int]
    """Number of images by split."""

    @classmethod
    def of(cls, data: Dataset) -> "DataFacts":
        """Take the facts of a data set."""
        splits = {"train": data.train, "val": data.val, "test": data.test}
        counts = {name: len(split) for name, split in splits.items() if split is not None}
        return cls(data.fingerprint, data.channels, data.resolution, data.mean, data.std, counts)

    def normalising(self, data: Dataset) -> Dataset:
        """Return the data set with the normalisation that the run began with."""
        return replace(data, mean=self.mean, std=self.std)

    def difference(self, now: "DataFacts") -> str:
        """Tell in what the data differs from what it was."""
        if self.images != now.images:
            before, after = (", ".join(f"{n:,} {name}" for name, n in facts.images.items()) for facts in (self, now))
            return f"{after} images now, {before} then"
        if (self.channels, self.resolution) != (now.channels, now.resolution):
            before, after = (f"{facts.channels} channels of {facts.resolution} px" for facts in (self, now))
            return f"{after} now, {before} then"
        return "as many as then, but not the same pixels, labels or split"


@dataclass(frozen=True)
class Run:
    """An opened run directory."""

    path: Path
    config: TrainConfig
    network: Network
    classes: tuple[str, ...]
    data: DataFacts
    INITIAL: ClassVar[str] = "initial.safetensors"

    @property
    def weights(self) -> Path:
        """The best weights so far, by validation accuracy."""
        return self.path / "model.safetensors"

    @property
    def initial(self) -> Path:
        """The weights that the run began with, where they were given."""
        return self.path / self.INITIAL

    @property
    def metrics(self) -> list[dict[str, float]]:
        """One row an epoch: rates, losses and accuracies."""
        path = self.path / "metrics.csv"
        if not path.exists():
            return []
        try:
            with path.open(newline="", encoding="utf-8") as file:
                return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path}: not a run's metrics: {error}") from None

    @property
    def summary(self) -> dict[str, Any]:
        """What came out; RunError if the run has not ended."""
        try:
            summary = json.loads((self.path / "summary.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{self.path / 'summary.json'}: damaged ({error}); remove it and --resume the run") from None
        except FileNotFoundError:
            raise RunError(
                f"{self.path}: the run has not ended; go on with it: convwright train --resume {self.path}"
            ) from None
        if not isinstance(summary, dict) or "val_accuracy" not in summary:
            raise RunError(f"{self.path / 'summary.json'}: not a run's summary; remove it and --resume the run")
        return summary

    @property
    def finished(self) -> bool:
        """Has the run come to its end?"""
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
        """Make a new run directory. RunError if something is in the way."""
        ensure_free(path)
        partial = path.with_name(f".{path.name}.partial")  # takes its name when it is whole: no kill leaves half a run
        try:
            shutil.rmtree(partial, ignore_errors=True)
            (partial / "checkpoints").mkdir(parents=True)
            write_text(partial / "config.yaml", config.to_yaml())
            write_text(partial / "network.json", network.to_json_text() + "\n")
            write_text(partial / "data.json", json.dumps(vars(data), indent=1) + "\n")
            write_text(partial / "classes.json", json.dumps(classes, indent=1, ensure_ascii=False) + "\n")
            for name, content in (files or {}).items():
                write_bytes(partial / name, content.encode() if isinstance(content, str) else content)
            partial.replace(path)
        except OSError as error:
            raise ConvwrightError(f"{path}: the run directory could not be made: {error.strerror}") from None
        return cls(path, config, network, classes, data)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open a run directory. RunError says what it lacks."""
        if not path.is_dir():
            raise RunError(f"{path}: no such run directory" if not path.exists() else f"{path}: a file, not a run")
        for name in ("config.yaml", "network.json", "classes.json", "data.json"):
            if not (path / name).is_file():
                raise RunError(f"{path}: not a run directory: it has no {name}; 'convwright train --out' makes one")
        try:
            facts = json.loads((path / "data.json").read_text(encoding="utf-8"))
            facts |= {name: tuple(facts[name]) for name in ("mean", "std")}
            classes = tuple(json.loads((path / "classes.json").read_text(encoding="utf-8")))
            data = DataFacts(**facts)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"{path}: classes.json or data.json is damaged: {error}") from None
        network = load_network(path / "network.json")
        if len(classes) != network.classes:
            raise RunError(f"{path}: classes.json names {len(classes)} classes, and the network has {network.classes}")
        return cls(path, TrainConfig.from_yaml(path / "config.yaml"), network, classes, data)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training this run too. RunHeldError if one is at it already."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            with suppress(OSError):  # some file systems know no locks
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise RunHeldError(f"{self.path}: another process is training this run") from None
            yield
        finally:
            os.close(folder)

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replace metrics.csv by these rows."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path / "metrics.csv", text.getvalue())

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write what came out, which marks the run as ended."""
        write_text(self.path / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")

    def save_checkpoint(self, step: int, state: dict[str, Any]) -> None:
        """Write the state at a step; of all checkpoints keep this and the one before.

        Those of later steps go too: a run is only back here if they could not be read.
        """
        path = self.path / "checkpoints" / f"step-{step:09d}.pt"
        whole = io.BytesIO()  # torch's own writer does not say why a disk takes no more
        torch.save(state, whole)
        write_atomically(path, lambda temporary: temporary.write_bytes(whole.getbuffer()))
        others = self._checkpoints()
        place = others.index(path)
        for other in others[:place] + others[place + KEPT_CHECKPOINTS :]:
            other.unlink(missing_ok=True)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the newest state that can be read, with a warning for each damaged one; None if there is none."""
        for stale in (self.path / "checkpoints").glob("*.partial"):  # what a kill left in the middle of writing
            stale.unlink(missing_ok=True)
        checkpoints = self._checkpoints()
        for path, before in zip_longest(checkpoints, checkpoints[1:]):
            try:
                with ZipFile(path) as file:  # torch itself does not look at the checksums that it writes
                    if damaged := file.testzip():
                        raise ValueError(f"the checksum of {damaged} is wrong")
                return torch.load(path, map_location="cpu", weights_only=True)
            except MemoryError:
                raise  # the file may be whole
            except Exception as error:  # a damaged file makes torch raise nearly anything
                why = (str(error) or type(error).__name__).splitlines()[0]
                instead = f"trying {before.name}" if before else "no other is left, so the run begins anew"
                warnings.warn(
                    f"{path} is damaged ({why}); {instead}",
                    ConvwrightWarning,
                    stacklevel=2,
                )
        return None

    @property
    def newest_checkpoint(self) -> Path | None:
        """The file of the newest checkpoint, if there is one."""
        return next(iter(self._checkpoints()), None)

    def _checkpoints(self) -> list[Path]:
        return sorted((self.path / "checkpoints").glob("step-*.pt"), reverse=True)


def ensure_free(path: Path) -> None:
    """RunError if a new run cannot go here without touching what is there."""
    if (path / "config.yaml").exists():
        raise RunError(f"{path} already holds a run; give another --out, or go on with it: --resume {path}")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} exists and is not empty; give another --out")
