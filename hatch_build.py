"""Compile the fused kernels into a wheel: `make wheel`, or HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 for any build.

Without this hook a wheel has the C++ sources only, which are compiled at first use where there is a compiler.
"""

import os
import platform
import runpy
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = "convwright/modules/fused"
X86 = ("x86_64", "amd64")


class KernelsHook(BuildHookInterface):
    """Adds a library for each source, type and level of instructions, and marks the wheel as one for this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is written."""
        if version == "editable":
            return
        if sys.platform != "linux":
            self.app.display_warning("kernels are compiled into wheels for Linux only")
            return
        sources = Path(self.root, "src", SOURCES)
        options = runpy.run_path(str(sources / "flags.py"))
        for level, flags in options["LEVELS"].items():
            if level != options["BASELINE"] and platform.machine().lower() not in X86:
                continue
            for name, stored, real in options["PACKAGED"]:
                path = f"{options['FOLDER']}/{level}/{options['file_name'](name, stored)}"
                library = Path(self.root, "build", path)
                compile_library(
                    sources / f"{name}.cpp", library, [*options["FLAGS"], *flags], options["types"](stored, real)
                )
                build_data["force_include"][str(library)] = f"{SOURCES}/{path}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def compile_library(source: Path, library: Path, flags: list[str], types: tuple[str, str]) -> None:
    """Compile a source with $CXX, or g++. The library uses the OpenMP that torch loads, and is linked with none."""
    compiler = shlex.split(os.environ.get("CXX") or "g++")
    library.parent.mkdir(parents=True, exist_ok=True)
    compiled = library.with_suffix(".o")
    subprocess.run([*compiler, *flags, *types, "-c", str(source), "-o", str(compiled)], check=True)
    subprocess.run([*compiler, "-shared", "-s", str(compiled), "-o", str(library)], check=True)
    compiled.unlink()
