"""ONNX Runtime's execution providers for NVIDIA GPUs, CUDA and TensorRT, where onnxruntime-gpu is installed."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

Provider = str | tuple[str, dict[str, str]]
"""Name of an execution provider, or name and options."""
CUDA: tuple[Provider, ...] = (("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider")
"""In 32 bits as on a CPU, so that logits agree as closely; operations without a CUDA kernel run on the CPU."""
TENSORRT: tuple[Provider, ...] = ("TensorrtExecutionProvider", *CUDA)
"""Operations that TensorRT does not support run in CUDA, or else on the CPU."""
CUDA_LIBRARY, TENSORRT_LIBRARY = "*onnxruntime_providers_cuda*", "*onnxruntime_providers_tensorrt*"
"""Files of the providers; their names have another start and suffix on each system."""


@cache
def lacks_cuda() -> str:
    """Return what the CUDA provider needs and does not find here; empty where it finds everything."""
    if _has(CUDA_LIBRARY):
        return ""
    return (
        "the installed onnxruntime has no CUDA provider; on a computer with an NVIDIA GPU install onnxruntime-gpu "
        "instead of onnxruntime"
    )


@cache
def lacks_tensorrt() -> str:
    """Return what TensorRT needs and does not find here; empty where it finds everything."""
    if _has(TENSORRT_LIBRARY):
        return ""
    return (
        "the installed onnxruntime has no TensorRT provider; on a computer with an NVIDIA GPU install TensorRT, and "
        "onnxruntime-gpu instead of onnxruntime"
    )


def name_of(provider: Provider) -> str:
    """Return the name of a provider."""
    return provider if isinstance(provider, str) else provider[0]


def _has(library: str) -> bool:
    """Return whether ONNX Runtime has a file. It is not imported, which takes a while."""
    found = find_spec("onnxruntime")
    folders = [Path(place) / "capi" for place in (found.submodule_search_locations or ())] if found else []
    return any(any(folder.glob(library)) for folder in folders)
