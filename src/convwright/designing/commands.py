"""Commands that repeat a design, or measure more precisely which of the papers' ideas helped."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convwright.data.opened import COLUMNS
from convwright.designing.request import DesignRequest, RaceExecution

ABLATION_MINUTES = 30.0
"""Minutes of an ablation that a design of less time suggests."""
AGAIN = "-again"
"""End of the names of a folder and a study for the same design again."""


def design_command(request: DesignRequest) -> str:
    """Return the complete command of a design, with another folder; Python where the command line lacks an option.

    Args:
        request: The request.
    """
    usual, execution = RaceExecution(), request.execution
    options: dict[str, Any] = {
        "minutes": _number(request.seconds / 60),
        "budget": None if request.budget is None else request.budget.text,
        "engine": request.engine,
        "seed": request.seed,
    }
    for name in ("workers", "cluster", "cores_per_task"):
        value = getattr(execution, name)
        options[name] = None if value == getattr(usual, name) else value
    if execution.storage is not None:
        from convwright.scaling.database import hide_password  # needs SQLAlchemy

        options["storage"] = hide_password(execution.storage)
    options["study"] = None if execution.study is None else execution.study + AGAIN
    return _command("design", request, options | {"out": f"{request.out}{AGAIN}"})


def ablate_command(request: DesignRequest, network: Path) -> str:
    """Return the command that compares each idea on the images of a design, with several seeds.

    Args:
        request: The request.
        network: File of the network to compare with.
    """
    minutes = max(ABLATION_MINUTES, request.seconds / 60)
    return _command("ablate", request, {"network": str(network), "minutes": _number(minutes)})


def _command(name: str, request: DesignRequest, options: Mapping[str, Any]) -> str:
    """Return a command on a design's images, or a call in Python if the command line lacks one of their options."""
    data, given = request.data, {key: value for key, value in options.items() if value is not None}
    own = data.options()
    if data.held is None and own.keys() <= {*COLUMNS, *(["resize"] if name == "design" else [])}:
        words = ["convwright", name, data.spec]
        for key, value in (own | given).items():
            words += [f"--{key.replace('_', '-')}", str(value)]
        return shlex.join(words)
    arguments = ", ".join(f"{key}={value!r}" for key, value in given.items())
    if data.held is not None:
        return f"cw.{name}(data, {arguments})  # data: the images that exist in memory only"
    if "split_seed" in own:
        own["seed"] = own.pop("split_seed")
    opened = ", ".join([repr(data.spec), *(f"{key}={value!r}" for key, value in own.items())])
    code = f"import convwright as cw; cw.{name}(cw.open_data({opened}), {arguments})"
    plain = not any(mark in code for mark in '"$`!\\')  # double quotes around it are easier to read
    return f'python -c "{code}"' if plain else shlex.join(["python", "-c", code])


def _number(value: float) -> int | float:
    """Return a number as an integer if it is one."""
    return int(value) if value == int(value) else value
