"""The C++ of this folder, compiled once for this machine into the user's cache, if there is a compiler."""

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
"""Which compilers for other processors do not know."""
NUMBERS = {
    torch.float32: ("float", "float"),
    torch.float64: ("double", "double"),
    torch.bfloat16: ("bfloat16", "float"),
}
"""How maps are stored, and in what is computed."""
OFF = "CONVWRIGHT_NO_COMPILER"
"""Set in the environment, it keeps everything plain."""
PATIENCE = 300.0
SOURCES = Path(__file__).parent
INCLUDED = re.compile(r'^#include "(.+)"$', re.MULTILINE)


@cache
def library(dtype: torch.dtype, name: str = "kernels") -> ctypes.CDLL | None:
    """Return the functions of a source for maps of a type of `NUMBERS`; None where they cannot be had."""
    if forbidden() or dtype not in NUMBERS or (compiler := _compiler()) is None:
        return None
    stored, real = NUMBERS[dtype]
    for flags in ((*FLAGS, WIDE), FLAGS):
        try:
            found = ctypes.CDLL(str(_built(name, [*compiler, *flags, f"-DSTORED={stored}", f"-DREAL={real}"])))
            _failures.pop(name, None)  # as of the flags before
            return found
        except OSError as error:  # as a folder that cannot be written
            _failures[name] = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        except subprocess.SubprocessError:
            _failures[name] = f"{compiler[0]} could not compile {name}.cpp"
    return None


_failures: dict[str, str] = {}


def why_not() -> str:
    """Say why there is no library, if there is none."""
    if forbidden():
        return f"{OFF} forbids it"
    if _compiler() is None:
        given = os.environ.get("CXX")
        return f"CXX={given}: no such program" if given else "there is none"
    return "; ".join(dict.fromkeys(_failures.values()))


def call(function: Any, *arguments: Any) -> None:
    """Call a function of a library: tensors by their address, `int` as C's; and last, torch's number of threads."""
    addresses = (ctypes.c_void_p(each.data_ptr()) if isinstance(each, torch.Tensor) else each for each in arguments)
    function(*addresses, ctypes.c_int(torch.get_num_threads()))


def room(function: Any, *sizes: Any, dtype: torch.dtype) -> torch.Tensor:
    """Return what a function works in, as large as another one says."""
    function.restype = ctypes.c_int64
    return torch.empty(function(*sizes, ctypes.c_int(torch.get_num_threads())), dtype=dtype)


def int64(*numbers: int) -> tuple[ctypes.c_int64, ...]:
    """Return whole numbers as functions of a library take them."""
    return tuple(map(ctypes.c_int64, numbers))


def forbidden() -> bool:
    """Does the environment say that nothing is to be compiled?"""
    return bool(os.environ.get(OFF))


def _compiler() -> list[str] | None:
    """$CXX, or else the first compiler of the usual names."""
    given = shlex.split(os.environ.get("CXX", ""))
    commands = [given] if given else [["c++"], ["g++"], ["clang++"]]
    return next((command for command in commands if command and shutil.which(command[0])), None)


def _built(name: str, command: list[str]) -> Path:
    """Return the compiled library, from the cache where it has been compiled before.

    Raises OSError or SubprocessError where it cannot be compiled.
    """
    path = _place(name, command)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as temporary:  # no process sees half a library
            made = Path(temporary) / path.name
            source = str(SOURCES / f"{name}.cpp")
            subprocess.run([*command, source, "-o", str(made)], check=True, capture_output=True, timeout=PATIENCE)
            made.replace(path)
    return path


def _place(name: str, command: list[str]) -> Path:
    """Return where the compiled library belongs; its name holds all that it depends on."""
    text = (SOURCES / f"{name}.cpp").read_text(encoding="utf-8")
    headers = [(SOURCES / header).read_text(encoding="utf-8") for header in INCLUDED.findall(text)]
    told = "\0".join([text, *headers, *command, _version(command[0]), _processor()])
    return cache_folder() / "compiled" / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:16]}.so"


def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True, timeout=60).stdout


def _processor() -> str:
    """What `-march=native` looks at: a cache may be shared by different machines."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(("flags", "Features", "model name")))) or (
        platform.processor()
    )
