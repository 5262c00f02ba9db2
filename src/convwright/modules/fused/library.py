"""The C++ sources of this folder, compiled once for this machine into the user's cache, if there is a compiler."""

import ctypes
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

from convwright.files import cache_folder

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-fopenmp")
WIDE = "-mprefer-vector-width=512"
"""A flag that compilers for other processors do not accept."""
NUMBERS = {
    torch.float32: ("float", "float"),
    torch.float64: ("double", "double"),
    torch.bfloat16: ("bfloat16", "float"),
}
"""Types of stored maps and of the arithmetic, by the type of tensors."""
DISABLE = "CONVWRIGHT_NO_COMPILER"
"""Environment variable that disables compiled operators."""
TIMEOUT = 300.0
"""Seconds that the compiler may take."""
SOURCES = Path(__file__).parent
INCLUDED = re.compile(r'^#include "(.+)"$', re.MULTILINE)


@cache
def library(dtype: torch.dtype, name: str = "kernels") -> ctypes.CDLL | None:
    """Return the compiled functions of a source for maps of a type; None if they are not available."""
    if is_disabled() or dtype not in NUMBERS or (compiler := _compiler()) is None:
        return None
    stored, real = NUMBERS[dtype]
    for flags in ((*FLAGS, WIDE), FLAGS):
        try:
            found = ctypes.CDLL(str(_built(name, [*compiler, *flags, f"-DSTORED={stored}", f"-DREAL={real}"])))
            _failures.pop(name, None)  # of the flags before
            return found
        except OSError as error:  # for example a folder that cannot be written
            _failures[name] = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        except subprocess.SubprocessError:
            _failures[name] = f"{compiler[0]} could not compile {name}.cpp"
    return None


def identity(dtype: torch.dtype, name: str) -> str:
    """Return a name for compiled functions that differs with their source, the compiler and the processor.

    Args:
        dtype: A key of `NUMBERS`.
        name: Name of the source.
    """
    return _place(name, [*(_compiler() or ["none"]), *NUMBERS[dtype]]).name


_failures: dict[str, str] = {}


def unavailable_reason() -> str:
    """Return the reason why compiled operators are not available; an empty text if they are."""
    if is_disabled():
        return f"{DISABLE} is set"
    if _compiler() is None:
        given = os.environ.get("CXX")
        return f"CXX={given}: no such program" if given else "there is none"
    return next(iter(_failures.values()), "")  # the others fail alike


def call(function: Any, *arguments: Any) -> None:
    """Call a compiled function with the addresses of tensors, and torch's number of threads as its last argument."""
    addresses = (ctypes.c_void_p(each.data_ptr()) if isinstance(each, torch.Tensor) else each for each in arguments)
    function(*addresses, ctypes.c_int(torch.get_num_threads()))


def workspace(function: Any, *sizes: Any, dtype: torch.dtype) -> torch.Tensor:
    """Return the working memory of a function, whose size another function gives."""
    function.restype = ctypes.c_int64
    return torch.empty(function(*sizes, ctypes.c_int(torch.get_num_threads())), dtype=dtype)


def int64(*numbers: int) -> tuple[ctypes.c_int64, ...]:
    """Return whole numbers as 64-bit C integers."""
    return tuple(map(ctypes.c_int64, numbers))


def is_disabled() -> bool:
    """Return whether the environment disables compiled operators."""
    return bool(os.environ.get(DISABLE))


def _compiler() -> list[str] | None:
    """Return the command of $CXX, or of the first compiler that is found."""
    given = shlex.split(os.environ.get("CXX", ""))
    commands = [given] if given else [["c++"], ["g++"], ["clang++"]]
    return next((command for command in commands if command and shutil.which(command[0])), None)


def _built(name: str, command: list[str]) -> Path:
    """Return the compiled library, from the cache if it has been compiled before.

    Raises:
        OSError: The library cannot be written.
        SubprocessError: The source cannot be compiled.
    """
    path = _place(name, command)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=path.parent
        ) as temporary:  # so that no process reads an incomplete library
            made = Path(temporary) / path.name
            source = str(SOURCES / f"{name}.cpp")
            subprocess.run([*command, source, "-o", str(made)], check=True, capture_output=True, timeout=TIMEOUT)
            made.replace(path)
    return path


def _place(name: str, command: list[str]) -> Path:
    """Return the path of the compiled library; its name has a digest of all that it depends on."""
    text = (SOURCES / f"{name}.cpp").read_text(encoding="utf-8")
    headers = [(SOURCES / header).read_text(encoding="utf-8") for header in INCLUDED.findall(text)]
    key = "\0".join([text, *headers, *command, _version(command[0]), _processor()])
    return cache_folder() / "compiled" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"


def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True, timeout=60).stdout


def _processor() -> str:
    """Return the properties that `-march=native` depends on, since different machines may share a cache."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(("flags", "Features", "model name")))) or (
        platform.processor()
    )
