"""Exported files on the Hugging Face Hub: `hf://user/name`, or `hf://user/name/file.onnx`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convwright.engines.checksum import WEIGHTS
from convwright.engines.engine import SUFFIXES
from convwright.errors import ArgumentError, ConvwrightError
from convwright.extras import require_package

PREFIX = "hf://"
_NAME = r"[A-Za-z0-9][\w.-]*"
_ADDRESS = re.compile(rf"hf://({_NAME}/{_NAME})(?:/(.+))?")


def is_on_hub(value: object) -> bool:
    """Return whether a value is an address on the Hub."""
    return isinstance(value, str) and value.startswith(PREFIX)


def parse_address(address: str, argument: str) -> tuple[str, str]:
    """Return the repository, as `user/name`, and the file in it; empty where there is none.

    Args:
        address: The address.
        argument: Name of the argument, for the message.

    Raises:
        ArgumentError: It is no address.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ArgumentError(argument, f"must be hf://user/name or hf://user/name/file.onnx, not {address!r:.80}")
    return found[1], found[2] or ""


def resolved(run: Any) -> Any:
    """Return the path of a file that an address on the Hub names, after downloading it; other values as they are.

    Raises:
        ArgumentError: The address is wrong, or names no exported file or several.
        ConvwrightError: The Hub cannot be reached, or has no such repository.
    """
    if not is_on_hub(run):
        return run
    repository, file = parse_address(run, "run")
    hub = require_package("huggingface_hub", "hf:// addresses")
    with errors_of_hub(run):
        if not file:
            names = [name for name in hub.list_repo_files(repository) if Path(name).suffix in SUFFIXES]
            if len(names) != 1:
                listed = ", ".join(sorted(names)) or "none"
                raise ArgumentError("run", f"{run}: name one of its exported files after it; there are: {listed}")
            (file,) = names
        if Path(file).suffix not in SUFFIXES:
            raise ArgumentError("run", f"{run}: an exported network ends in {', '.join(sorted(SUFFIXES))}")
        path = Path(hub.hf_hub_download(repository, file))
        if (weights := WEIGHTS.get(path.suffix)) is not None:
            hub.hf_hub_download(repository, str(Path(file).with_suffix(weights)))
        return path


@contextmanager
def errors_of_hub(address: str) -> Iterator[None]:
    """Turn errors of the Hub into one line that names the address."""
    try:
        yield
    except ConvwrightError:
        raise
    except Exception as error:  # of the network, of HTTP, and of the package itself
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ConvwrightError(f"{address}: {lines[0] if lines else type(error).__name__:.300}") from None
