"""The tab Network: an expression, its operators, its cost, and its place among published networks."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from convwright.api.networks import describe, models
from convwright.arch import registry
from convwright.errors import UsageError
from convwright.studio_app.answers import Answer

BASE = re.compile(r"[A-Za-z0-9_-]+")
LONGEST = 400


class NetworkQuestion(BaseModel):
    """A network with the positions of the sliders."""

    model_config = ConfigDict(extra="forbid")
    expression: str = Field(max_length=LONGEST)
    depth: float = Field(1, ge=0.1, le=4)
    width: float = Field(1, ge=0.1, le=4)
    resolution: int | None = Field(None, ge=8, le=1024)
    phi: float = Field(0, ge=-4, le=8)
    se: Literal["", "none", "4", "8", "16", "32"] = ""
    classes: int | None = Field(None, ge=1, le=100_000)

    def full(self) -> str:
        """Return the expression with the operators of the sliders."""
        parts = [checked(self.expression)]
        if self.se:
            parts.append(f"se:{self.se}")
        if self.phi:
            parts.append(f"phi:{self.phi:g}")
        if self.depth != 1 or self.width != 1:
            parts.append(f"scale:d={self.depth:g},w={self.width:g}")
        if self.resolution:
            parts.append(f"resolution:{self.resolution}")
        if self.classes:
            parts.append(f"classes:{self.classes}")
        return "|".join(parts)


def checked(expression: str) -> str:
    """Return an expression that begins with a name of the zoo.

    Raises:
        UsageError: It begins with a path; files outside the folder must not be read.
    """
    expression = expression.strip()
    name = expression.partition("|")[0].strip()
    listed = {known for _, known in registry.names()}
    if not BASE.fullmatch(name) or (name not in listed and Path(name).exists()):
        raise UsageError(f"network {name[:60]!r}: begin with the name of a network, such as resnet50|se:16")
    return expression


def show_network(question: NetworkQuestion) -> Answer:
    """Return tables, drawing and cost of a network."""
    expression = question.full()
    found = describe(expression)
    cost = found.cost
    return Answer(
        html=found._repr_html_(),
        command=["show", expression],
        python=f"cw.describe({expression!r})",
        values={
            "expression": expression,
            "name": found.network.name,
            "params": cost.params,
            "macs": cost.macs,
            "resolution": cost.resolution,
            "stages": [{"name": each.name, "macs": each.macs, "params": each.params} for each in cost.stages],
        },
    )


@lru_cache(1)
def published() -> list[dict[str, object]]:
    """Return cost and published ImageNet accuracy of the networks of the zoo."""
    return [
        {
            "name": each.network.name,
            "family": each.family,
            "params": each.cost.params,
            "macs": each.cost.macs,
            "top1": next(
                (
                    result.value if "accuracy" in result.metric else round(100 - result.value, 2)
                    for result in each.network.results
                    if result.dataset == "ImageNet" and "top-1" in result.metric
                ),
                None,
            ),
        }
        for each in models()
    ]
