"""The devices that networks compute on, by name."""

import torch

from convwright.display.wording import counted
from convwright.errors import ArgumentError


def find_device(name: torch.device | str) -> torch.device:
    """Return a device by its name; `auto` is the GPU if there is one.

    Raises:
        ArgumentError: This machine lacks the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (
        RuntimeError,
        AssertionError,
        ImportError,
        TypeError,
        ValueError,
    ) as error:  # torch's backends have no common error
        raise ArgumentError("device", _no_device(str(name), error)) from None
    return device


def _no_device(name: str, error: Exception) -> str:
    """Return why a device cannot be used, and which can, in one line."""
    kind, _, number = name.partition(":")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and number in ("", *map(str, range(gpus))) and gpus:  # it exists, but is full or broken
        return f"{name} cannot be used: {str(error).splitlines()[0]:.150}; the device is cpu, cuda or auto"
    found = "" if kind != "cuda" else " (torch finds no GPU)" if not gpus else f" (it has {counted(gpus, 'GPU')})"
    return f"no device {name!r} on this machine{found}; the device is cpu, cuda or auto"
