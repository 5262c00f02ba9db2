"""Published checkpoints, read without running code that they contain."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from convwright.checksums import verify
from convwright.errors import UsageError
from convwright.finite import check_finite_weights
from convwright.printable import printable

Tensors = dict[str, torch.Tensor]

# Keys under which training scripts store the weights, averaged weights first.
_INSIDE = ("state_dict_ema", "model_ema", "state_dict", "model", "net", "weights")
_NOT_WEIGHTS = frozenset(("n_averaged", "total_ops", "total_params"))
"""Counters that torch's averaged models and programs that count operations store among the weights."""
_PREFIXES = ("module.", "_orig_mod.", "model.")


def read_tensors(path: Path) -> Tensors:
    """Read the tensors of a file.

    Args:
        path: A safetensors file, or a file of `torch.save`, of which only data is read (`weights_only`).

    Returns:
        Tensors by name: of safetensors sorted by name, otherwise in the order of the file.

    Raises:
        UsageError: The file has another format, is damaged, would run code, or has no weights.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file of weights" if not path.exists() else f"{path}: not a file")
    verify(path)
    tensors = _unwrapped(_safetensors(path) if _is_safetensors(path) else _torch(path))
    if not tensors:
        raise UsageError(f"{path}: contains no weights; a checkpoint maps names to tensors")
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise UsageError(
                f"{path}: {printable(name)} is a sparse, quantized or complex tensor, not a dense real one"
            )
    check_finite_weights({printable(name): tensor for name, tensor in tensors.items()}, path)
    return tensors


def _is_safetensors(path: Path) -> bool:
    """Return whether a file starts like safetensors: with eight bytes of length and a JSON object."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" or (path.suffix == ".safetensors" and not start.startswith((b"PK", b"\x80")))


def _safetensors(path: Path) -> Tensors:
    try:
        return dict(sorted(load_file(path).items()))
    except Exception as error:  # types and shapes of damaged headers fail in many ways
        raise UsageError(f"{path}: not a readable safetensors file{_reason(error)}") from None


def _torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols of other writers
            with path.open("rb") as file:  # given a path, torch also interprets its suffix
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        message = str(error)
        if "GLOBAL" in message or "Unsupported" in message or "not an allowed" in message:
            raise UsageError(
                f"{path}: refused, since reading it would run code ({_forbidden(message)}); "
                "save its state_dict() alone, or as safetensors"
            ) from None
        raise UsageError(f"{path}: not a checkpoint of torch's, or damaged") from None
    except Exception as error:  # damaged pickles raise nearly anything
        raise UsageError(f"{path}: not a checkpoint, or damaged{_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return the first sentence of an error's text; nothing for a KeyError, whose text is only a key."""
    first = printable(str(error).partition("\n")[0].partition(". ")[0])
    return f": {first:.120}" if first and not isinstance(error, KeyError) else ""


def _forbidden(message: str) -> str:
    """Return what a pickle would call, from torch's long message."""
    words = message.replace("`", " ").replace(",", " ").split()
    named = [word for index, word in enumerate(words) if index and words[index - 1] == "GLOBAL"]
    return f"it names {printable(named[0])}" if named else "it contains more than data"


def _unwrapped(stored: Any, depth: int = 3) -> Tensors:
    """Return the first mapping of names to tensors, without prefixes of wrappers."""
    for name in _INSIDE if isinstance(stored, Mapping) and depth else ():
        if tensors := _unwrapped(stored.get(name), depth - 1):
            return tensors
    if not isinstance(stored, Mapping):
        return {}
    tensors = {
        str(name): value
        for name, value in stored.items()
        if isinstance(value, torch.Tensor) and str(name).rpartition(".")[2] not in _NOT_WEIGHTS
    }
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors
