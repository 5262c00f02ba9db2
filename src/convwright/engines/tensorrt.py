"""TensorRT through ONNX Runtime's execution provider, where that is installed (onnxruntime-gpu and TensorRT)."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
"""Operations that TensorRT does not support run in CUDA, or else on the CPU."""
LIBRARY = "*onnxruntime_providers_tensorrt*"
"""File of ONNX Runtime's provider; its name has another start and suffix on each system."""


@cache
def lacks_tensorrt() -> str:
    """Return what TensorRT needs and does not find here; empty where it finds everything.

    ONNX Runtime is not imported, which takes a while.
    """
    found = find_spec("onnxruntime")
    folders = [Path(place) / "capi" for place in (found.submodule_search_locations or ())] if found else []
    if any(any(folder.glob(LIBRARY)) for folder in folders):
        return ""
    return (
        "the installed onnxruntime has no TensorRT provider; on a computer with an NVIDIA GPU install TensorRT, and "
        "onnxruntime-gpu instead of onnxruntime"
    )
