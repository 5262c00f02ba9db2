"""The engines that `export`, `bench`, `predict` and `scale plan` use: Convwright's own, and those of other packages.

No torch in here. An engine's package is imported when the engine opens a file, and other packages' engines are looked
up only where Convwright's own do not suffice.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from convwright.engines.card import Card, Verification
from convwright.engines.card_reading import read_card
from convwright.engines.checksum import check_checksums
from convwright.engines.engine import SUFFIXES, Engine
from convwright.engines.own import OWN_ENGINES
from convwright.engines.parts import network_of_onnx
from convwright.engines.plugins import plugin_engines
from convwright.engines.runner import Runner
from convwright.errors import ConvwrightError, UsageError
from convwright.extras import require_package


@dataclass(frozen=True)
class Loaded:
    """An exported file in an engine."""

    run: Runner
    card: Card
    engine: str
    """Name of the engine."""


def engines() -> dict[str, Engine]:
    """Return every engine by name: Convwright's own first, then those of other packages."""
    return OWN_ENGINES | plugin_engines()


def find_engine(name: str) -> Engine | None:
    """Return the engine of a name; None if there is none."""
    return OWN_ENGINES.get(name) or plugin_engines().get(name)


def engines_reading(suffix: str, *, only_installed: bool = False) -> list[Engine]:
    """Return the engines that run files with a suffix.

    Args:
        suffix: Suffix of an exported file, as `.onnx`.
        only_installed: Leave out engines that are not installed.
    """
    readers = [engine for engine in engines().values() if suffix in engine.reads]
    return [engine for engine in readers if engine.usable()] if only_installed else readers


def open_file(path: Path, engine: str | None = None, threads: int | None = None, precision: str = "f32") -> Loaded:
    """Load an exported file into an engine.

    Args:
        path: The exported file.
        engine: Name of the engine; None: the fastest installed one that the file was verified with.
        threads: Number of threads; None: the engine's choice.
        precision: Precision to compute in, `f32` or `bf16`.

    Raises:
        UsageError: There is no such file or engine, the file is damaged or not an exported one, or the engine cannot
            run it.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: an exported network ends in {', '.join(sorted(SUFFIXES))}")
    chosen = _default_engine(path) if engine is None else _named_engine(engine, path.suffix)
    return _open(chosen, path, threads, precision)


def fastest_engine(verified: Verification, names: Iterable[str]) -> str | None:
    """Return the engine that was fastest when a file was exported.

    Args:
        verified: Record of the export.
        names: Engines to choose from.

    Returns:
        The name; None if the file was verified with none of them.
    """
    times = {name: verified.engines[name].milliseconds for name in names if name in verified.engines}
    return min(times, key=lambda name: times[name]) if times else None


def _named_engine(name: str, suffix: str) -> Engine:
    chosen = find_engine(name)
    if chosen is None:
        raise UsageError(f"no engine {name!r} runs exported files; there are {', '.join(engines())}")
    if suffix not in chosen.reads:
        readers = [engine.name for engine in engines_reading(suffix)]
        raise UsageError(
            f"{name} does not read {suffix} files; {' and '.join(readers)} {'does' if len(readers) == 1 else 'do'}"
        )
    return chosen


def _default_engine(path: Path) -> Engine:
    """Return the fastest installed engine that a file was verified with, or else the first installed one."""
    verified = read_card(path).verified
    readers = [engine for engine in OWN_ENGINES.values() if path.suffix in engine.reads and engine.usable()]
    if not readers or not verified.engines.keys() <= OWN_ENGINES.keys():
        readers = engines_reading(path.suffix, only_installed=True)
    if not readers:
        require_package(engines_reading(path.suffix)[0].package, path.name)
    readers = [engine for engine in readers if engine.by_default] or readers
    fastest = fastest_engine(verified, [engine.name for engine in readers])
    return next((engine for engine in readers if engine.name == fastest), readers[0])


def _open(engine: Engine, path: Path, threads: int | None, precision: str) -> Loaded:
    try:
        require_package(engine.package, f"running {path.name}")
        if lacking := engine.lacks():
            raise UsageError(f"{path}: {engine.name} cannot run it: {lacking}")
        card = read_card(path)
        check_checksums(path, card)
        run = _run_of(engine, path, card, threads, precision)
    except ConvwrightError:
        raise
    except Exception as error:  # every engine has errors of its own for a damaged file or an unknown operation
        raise UsageError(f"{path}: {engine.name} cannot run it: {_reason(error)}") from None

    def guarded(images: np.ndarray) -> np.ndarray:
        try:
            return run(images)
        except ConvwrightError:
            raise
        except Exception as error:  # OpenVINO compiles a model only when it sees the number of images
            raise ConvwrightError(f"{path}: {engine.name} cannot run it: {_reason(error)}") from None

    return Loaded(guarded, card, engine.name)


def _run_of(engine: Engine, path: Path, card: Card, threads: int | None, precision: str) -> Runner:
    """Load a file; engines of other packages get a file with the network alone, from a tensor to logits."""
    if card.network_alone or engine.name in OWN_ENGINES:
        return engine.open(path, card, threads, precision)
    if path.suffix == ".xml":
        raise UsageError(
            f"{path}: {engine.name} runs a network alone; export it with `input` tensor, without `explain` and `limits`"
        )
    folder = TemporaryDirectory(prefix="convwright-")
    network = Path(folder.name) / path.name
    network.write_bytes(network_of_onnx(path.read_bytes(), card))
    run = engine.open(network, replace(card, input="tensor", outputs=("logits",)), threads, precision)

    def with_folder(images: np.ndarray, folder: TemporaryDirectory[str] = folder) -> np.ndarray:
        return run(images)  # the engine may read the file at any time, so the folder lives as long as this function

    return with_folder


def _reason(error: Exception) -> str:
    """Return the first line of an engine's error that gives a reason."""
    lines = (line.strip() for line in str(error).splitlines())
    # The first line of OpenVINO's errors is a place in its source code.
    reason = next((line for line in lines if line and not line.startswith("Exception from ")), type(error).__name__)
    return f"{reason:.200}"
