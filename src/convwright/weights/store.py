"""Weights as safetensors files, written whole or not at all."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import nn

from convwright.errors import UsageError
from convwright.files import write_bytes
from convwright.finite import check_finite_weights


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's parameters and buffers atomically."""
    write_bytes(path, serialized(module))  # safetensors' own writer makes files that only their owner may read


def serialized(module: nn.Module) -> bytes:
    """Return a module's parameters and buffers as the content of a safetensors file."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    return save(tensors, {"format": "pt"})


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a file of weights into a module.

    Args:
        module: The module.
        path: A safetensors file of the module's parameters and buffers.

    Raises:
        UsageError: The file cannot be read, or tensors are missing, unknown, not finite or of another shape.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file of weights") from None
    except Exception as error:  # types and shapes of damaged headers fail in many ways
        raise UsageError(f"{path}: not a readable safetensors file: {error}") from None
    if problems := differences(module.state_dict(), tensors):
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise UsageError(f"{path}: the weights do not fit the network: {'; '.join(problems[:3])}{more}")
    check_finite_weights(tensors, path)
    module.load_state_dict(tensors)


def differences(wanted: dict[str, torch.Tensor], given: dict[str, torch.Tensor]) -> list[str]:
    """Return how two sets of tensors differ in names, shapes and kinds of numbers, a sentence for each tensor.

    Args:
        wanted: Tensors of a module, by name.
        given: Tensors of a file, by name.
    """
    problems = [f"{name} is missing" for name in wanted if name not in given]
    problems += [f"{name} is not part of the network" for name in given if name not in wanted]
    problems += [
        f"{name} is {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    problems += [
        f"{name} holds whole numbers ({str(given[name].dtype).removeprefix('torch.')}), as quantized weights do"
        for name, tensor in wanted.items()
        if name in given and tensor.is_floating_point() and not given[name].is_floating_point()
    ]
    return problems
