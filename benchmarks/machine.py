"""What the figures of the other files were measured on."""

import os
import platform
from pathlib import Path


def describe() -> str:
    """Name the processor, its cores that this process may use, the system and Python."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.machine()}"
    return f"{_processor()}, {usable} cores; {system}; {platform.python_implementation()} {platform.python_version()}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown processor")
