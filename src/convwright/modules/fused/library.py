"""The C++ sources of this folder in compiled form: as wheels have them, or compiled once into the user's cache."""

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
from convwright.modules.fused.flags import BASELINE, FLAGS, FOLDER, LEVELS, WIDE, file_name, types

NATIVE = (*FLAGS, "-march=native", "-shared")
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


def is_compiled(dtype: torch.dtype, name: str) -> bool:
    """Return whether the functions of a source are there without compiling it now: in the package, or in the cache.

    Args:
        dtype: Type of the maps.
        name: Name of the source.
    """
    if is_disabled() or dtype not in NUMBERS:
        return False
    if packaged_file(dtype, name) is not None:
        return True
    if (compiler := _compiler()) is None:
        return False
    commands = [[*compiler, *flags, *types(*NUMBERS[dtype])] for flags in ((*NATIVE, WIDE), NATIVE)]
    return any(_place(name, command).exists() for command in commands)


@cache
def library(dtype: torch.dtype, name: str = "kernels") -> ctypes.CDLL | None:
    """Return the compiled functions of a source for maps of a type; None if they are not available.

    Those that were installed with the package are used; without them, the source is compiled for this machine.
    """
    if is_disabled() or dtype not in NUMBERS:
        return None
    packaged = packaged_file(dtype, name)
    if packaged is not None:
        try:
            return ctypes.CDLL(str(packaged))
        except OSError as error:  # for example a torch without OpenMP
            _unloadable[name] = str(error)
    if (compiler := _compiler()) is None:
        return None
    for flags in ((*NATIVE, WIDE), NATIVE):
        try:
            found = ctypes.CDLL(str(_built(name, [*compiler, *flags, *types(*NUMBERS[dtype])])))
            _failures.pop(name, None)  # of the flags before
            return found
        except OSError as error:  # for example a folder that cannot be written
            _failures[name] = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        except subprocess.SubprocessError:
            _failures[name] = f"{compiler[0]} could not compile {name}.cpp"
    return None


def packaged_file(dtype: torch.dtype, name: str) -> Path | None:
    """Return the library that was installed with the package for this processor; None where the package has none.

    Args:
        dtype: A key of `NUMBERS`.
        name: Name of the source.
    """
    known = torch.backends.cpu.get_cpu_capability().lower()
    for level in (*(each for each in LEVELS if known.startswith(each)), BASELINE):
        path = SOURCES / FOLDER / level / file_name(name, NUMBERS[dtype][0])
        if path.is_file():
            return path
    return None


def identity(dtype: torch.dtype, name: str) -> str:
    """Return a name for compiled functions that differs with their source, the compiler and the processor.

    Args:
        dtype: A key of `NUMBERS`.
        name: Name of the source.
    """
    packaged = packaged_file(dtype, name)
    if packaged is not None:
        return _digest(name, [packaged.parent.name, *NUMBERS[dtype]])
    return _place(name, [*(_compiler() or ["none"]), *NUMBERS[dtype]]).name


_failures: dict[str, str] = {}
_unloadable: dict[str, str] = {}
"""Why libraries that were installed with the package cannot be loaded."""


def unavailable_reason() -> str:
    """Return the reason why compiled operators are not available; an empty text if they are."""
    if is_disabled():
        return f"{DISABLE} is set"
    loading = "".join(f"; installed kernels: {reason}" for reason in [*_unloadable.values()][:1])  # all fail alike
    if _compiler() is None:
        given = os.environ.get("CXX")
        return (f"CXX={given}: no such program" if given else "there is none") + loading
    return "".join([*_failures.values()][:1]) + loading


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
    return cache_folder() / "compiled" / f"{_digest(name, [*command, _version(command[0])])}.so"


def _digest(name: str, made_with: list[str]) -> str:
    """Return the name of a source with a digest of its text, what it was compiled with, and the processor."""
    key = "\0".join([*_texts(f"{name}.cpp").values(), *made_with, _processor()])
    return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _texts(name: str) -> dict[str, str]:
    """Return the text of a source and of all headers that it includes, by their names."""
    found = {name: (SOURCES / name).read_text(encoding="utf-8")}
    for header in INCLUDED.findall(found[name]):
        found |= _texts(header)
    return found


def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True, timeout=60).stdout


def _processor() -> str:
    """Return the properties that `-march=native` depends on, since different machines may share a cache."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(("flags", "Features", "model name")))) or (
        platform.processor()
    )
